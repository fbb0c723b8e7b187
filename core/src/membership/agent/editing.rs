//! How an agent gets edits recorded.

use super::{Agent, AgentEvent, RETRY};
use crate::io::{Context, Level};
use crate::membership::edits::Folded;
use crate::membership::{Edit, EditId, Name};
use crate::time::Time;
use crate::wire::{CoordinatorRefusal, OperatorRefusal, ToCoordinator};

impl Agent {
    /// Wants a change recorded. It outlives the connection; without a deadline it waits for as
    /// long as it takes. [`AgentEvent::Edited`] follows.
    ///
    /// # Errors
    /// When too many changes wait already.
    pub fn edit(&mut self, edit: Edit, deadline: Option<Time>) -> Result<EditId, OperatorRefusal> {
        let id = self.edits.add(edit, deadline)?;
        self.is_stirred = true;
        Ok(id)
    }

    pub(super) fn on_refused(
        &mut self,
        cx: &mut Context<'_>,
        request: Option<u64>,
        reason: CoordinatorRefusal,
        events: &mut Vec<AgentEvent>,
    ) {
        cx.report(Level::Error, None, format!("the coordinator refused a request: {reason}"));
        let Some(pending) = request.and_then(|request| self.under_way.end(request)) else {
            return;
        };
        self.paused.insert(pending.write.name(), cx.now + RETRY);
        for edit in pending.edits {
            let reason = format!("the coordinator does not record it: {reason}");
            self.end_edit(edit, Err(OperatorRefusal::Refused { reason }), events);
        }
    }

    /// Tells how an edit ended, unless it was given up before.
    pub(super) fn end_edit(
        &mut self,
        edit: EditId,
        result: Result<(), OperatorRefusal>,
        events: &mut Vec<AgentEvent>,
    ) {
        if self.edits.end(edit) {
            events.push(AgentEvent::Edited { edit, result });
        }
    }

    /// Ends the edits of a key that need nothing or can't be made, and asks for the others.
    pub(super) fn propose_edits(
        &mut self,
        cx: &mut Context<'_>,
        name: Name,
        out: &mut Vec<ToCoordinator>,
        events: &mut Vec<AgentEvent>,
    ) {
        let is_known = !self.under_way.has(name) && self.mirror.is_readable(name);
        if !is_known {
            return;
        }
        let Folded { write, made, refused } = self.edits.fold(name, self.mirror.fact(name));
        for (edit, refusal) in refused {
            self.end_edit(edit, Err(refusal), events);
        }
        match write {
            Some(write) => self.propose(cx, write, made, out),
            None => made.into_iter().for_each(|edit| self.end_edit(edit, Ok(()), events)),
        }
    }

    /// Gives up the edits whose time is over.
    pub(super) fn expire_edits(&mut self, now: Time, events: &mut Vec<AgentEvent>) {
        for edit in self.edits.expire(now) {
            let result = Err(OperatorRefusal::NoCoordinator);
            events.push(AgentEvent::Edited { edit, result });
        }
    }
}
