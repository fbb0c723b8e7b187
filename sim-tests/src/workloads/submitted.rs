//! A submitted operation: what it is told of its end goes into the history, also where nobody holds
//! its handle any more.

use std::sync::Arc;

use waltz_client::{
    CallbackError, Conflict, InDoubt, Mark, PartitionId, SubmitError, TransactionBuilder,
    TransactionContext,
};

use super::app::{App, State};
use super::questions::Questions;
use super::wish::Wish;
use crate::operations::{Ending, Met, Number, Operations};

/// Computes its wish from what was applied, as often as it takes; `None` declines.
pub(super) struct Submitted<S, F> {
    pub(super) number: Number,
    pub(super) partition: PartitionId,
    pub(super) app: Arc<App<S>>,
    pub(super) operations: Operations,
    pub(super) questions: Questions,
    pub(super) compute: F,
    /// The mark of the last execution.
    pub(super) computed_at: Mark,
}

impl<S: State, F: Fn(&S) -> Option<Wish> + Send + Sync + 'static> TransactionContext
    for Submitted<S, F>
{
    fn partition(&self, _: u32) -> PartitionId {
        self.partition
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.computed_at = builder.high_water_mark();
        let Some(wish) = self.app.with(self.partition, &self.compute) else { return Ok(false) };
        let data = wish.data(self.number);
        self.operations.sends(self.number, &data);
        wish.build(data, builder);
        Ok(true)
    }

    fn on_completion(&mut self, committed: bool) {
        let ignored = || Ending::Never("ignored".to_owned());
        let ending = if committed { Ending::Completed } else { ignored() };
        self.operations.end(self.number, ending);
    }

    fn on_exception(&mut self, error: &SubmitError) {
        self.operations.end(self.number, Ending::Never(error.to_string()));
    }

    fn on_lock_failure(&mut self, conflict: &Conflict) {
        let (partition, computed_at) = (self.partition, self.computed_at);
        self.operations.meets(Met { partition, computed_at, conflict: *conflict });
    }

    fn on_in_doubt(&mut self, in_doubt: &InDoubt) {
        self.operations.end(self.number, Ending::InDoubt);
        self.questions.ask(self.number, *in_doubt);
    }
}
