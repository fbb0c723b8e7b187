//! Operators' requests: what is recorded by this node's agent, whoever serves the partition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Body;
use crate::io::{ConnectionId, Context};
use crate::membership::{Cluster, Edit, EditId, edits_of};
use crate::wire::{OperatorRefusal, OperatorRequest, ServerReply};

/// How long the coordinator may take to record what an operator wants, or the next part of it.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// How many parts of one request are on their way at once.
const AT_ONCE: usize = 64;

/// Who asked for something, and under which number.
type Asked = (ConnectionId, u64);

/// What operators asked for and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Operators {
    wishes: BTreeMap<Asked, Wish>,
    /// Whose part an edit is.
    edits: BTreeMap<EditId, Asked>,
}

/// One request: steps, the parts of each of which are recorded in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    /// Not asked for yet, in order: what is left of this step, and the steps after it.
    left: VecDeque<VecDeque<Edit>>,
    /// On their way, all of one step.
    waiting: BTreeSet<EditId>,
}

impl Wish {
    fn new(steps: Vec<Vec<Edit>>) -> Self {
        Self { left: steps.into_iter().map(VecDeque::from).collect(), waiting: BTreeSet::new() }
    }

    /// The next part that may go.
    fn next(&mut self) -> Option<Edit> {
        if self.waiting.is_empty() {
            while self.left.pop_front_if(|step| step.is_empty()).is_some() {}
        }
        let step = self.left.front_mut().filter(|_| self.waiting.len() < AT_ONCE)?;
        step.pop_front()
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.left.iter().all(VecDeque::is_empty)
    }
}

impl Body {
    /// Records what an operator wants, or says why not.
    pub(super) fn on_operator(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        call: u64,
        request: OperatorRequest,
    ) {
        let edits = self.check_versions(&request);
        match edits.and_then(|()| edits_of(self.agent.directory(), request)) {
            Ok(steps) => {
                self.operators.wishes.insert((conn, call), Wish::new(steps));
                self.go_on(cx, (conn, call));
            }
            Err(refusal) => self.tell_operator(cx, (conn, call), Err(refusal)),
        }
    }

    /// Whether everyone here can be told of as many partitions as there would be.
    fn check_versions(&self, request: &OperatorRequest) -> Result<(), OperatorRefusal> {
        let Some(count) = request.partitions() else { return Ok(()) };
        let (needed, newest) = (Cluster::needs(count), self.config.newest);
        let spoken = self.links.oldest_agreed().map_or(newest, |oldest| oldest.min(newest));
        match spoken < needed {
            true => Err(OperatorRefusal::TooOld { count, needed, spoken }),
            false => Ok(()),
        }
    }

    /// An edit has ended: whoever waits for it goes on, or is told.
    pub(super) fn on_edited(
        &mut self,
        cx: &mut Context<'_>,
        edit: EditId,
        result: Result<(), OperatorRefusal>,
    ) {
        let Some(asked) = self.operators.edits.remove(&edit) else { return };
        let Some(wish) = self.operators.wishes.get_mut(&asked) else { return };
        wish.waiting.remove(&edit);
        match result {
            Ok(()) => self.go_on(cx, asked),
            Err(refusal) => self.end_wish(cx, asked, Err(refusal)),
        }
    }

    /// Who asked is gone: what is on its way ends by itself, and nobody is told.
    pub(super) fn forget_operator(&mut self, conn: ConnectionId) {
        self.operators.wishes.retain(|(asker, _), _| *asker != conn);
        self.operators.edits.retain(|_, (asker, _)| *asker != conn);
    }

    /// Asks for the next parts, if any are left.
    fn go_on(&mut self, cx: &mut Context<'_>, asked: Asked) {
        while let Some(wish) = self.operators.wishes.get_mut(&asked) {
            if wish.is_done() {
                return self.end_wish(cx, asked, Ok(()));
            }
            let Some(edit) = wish.next() else { return };
            match self.agent.edit(edit, Some(cx.now + RECORD_TIMEOUT)) {
                Ok(edit) => {
                    self.operators.edits.insert(edit, asked);
                    if let Some(wish) = self.operators.wishes.get_mut(&asked) {
                        wish.waiting.insert(edit);
                    }
                }
                Err(refusal) => return self.end_wish(cx, asked, Err(refusal)),
            }
        }
    }

    fn end_wish(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked,
        result: Result<(), OperatorRefusal>,
    ) {
        self.operators.wishes.remove(&asked);
        self.operators.edits.retain(|_, asker| *asker != asked);
        self.tell_operator(cx, asked, result);
    }

    fn tell_operator(
        &mut self,
        cx: &mut Context<'_>,
        (conn, call): Asked,
        result: Result<(), OperatorRefusal>,
    ) {
        let reply = self.in_words_of(conn, ServerReply::Operated { call, result });
        self.links.send(cx, conn, &reply);
    }
}
