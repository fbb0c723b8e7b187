//! Waiting for partitions that are new to the coordinator.

use std::time::Duration;

use super::super::operator::Operator;
use crate::commands::survey::Survey;

/// How often to look how many are open.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits until the cluster has so many partitions and all of them are open, and shows how many are.
///
/// # Errors
/// When the cluster can't be reached any more.
pub(in crate::commands::admin) async fn wait_until_open(
    operator: &mut Operator,
    partitions: usize,
) -> anyhow::Result<()> {
    let mut told = None;
    loop {
        let survey = Survey::take(&operator.client).await?;
        let open = survey.served().values().filter(|status| status.open).count();
        if told != Some(open) && !operator.json {
            operator.output.line(format_args!("{open} of {partitions} partitions are open"))?;
            operator.output.flush()?;
            told = Some(open);
        }
        if survey.view.partitions.len() >= partitions && open >= partitions {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
