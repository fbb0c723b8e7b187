//! Records about as large as they may be; what is larger is refused for certain.

use waltz_client::LockKind;
use waltz_core::record::HEADER_BYTES;

use super::drive::{Step, Workload};
use super::instance::Instance;
use super::wish::{Patience, Wish};
use crate::cluster::LIMITS;
use crate::operations::Ending;

/// The largest body: the record's own header, one lock and the operation's number go off.
const LARGEST: u64 = LIMITS.record as u64 - HEADER_BYTES as u64 - 8 - 8;

#[derive(Clone)]
pub(super) struct BigRecords;

impl Workload for BigRecords {
    type State = ();

    async fn step(&self, instance: &Instance<()>, mut step: Step) {
        let partition = step.partition();
        let length = match step.below(4) {
            0 => LARGEST,
            1 => LARGEST - step.below(64),
            2 => step.below(LARGEST),
            _ => LARGEST + 1 + step.below(100),
        };
        let body = (0..length).map(|at| (at * 31 + length) as u8).collect();
        let wish = Wish { body, ..Wish::default() }.lock(LockKind::Write, "page", step.below(8));
        let ending = if step.below(2) == 0 {
            instance.append(partition, Patience::Endless, |()| wish).await
        } else {
            instance.submit(partition, Patience::Endless, move |()| Some(wish.clone())).await
        };
        if length > LARGEST && !matches!(ending, Ending::Never(_)) {
            let text = format!("a body of {length} bytes, over the limit of {LARGEST}: {ending:?}");
            instance.app().object(text);
        }
    }
}
