//! Operators' requests: what is recorded by this node's agent, whoever serves the partition.

use std::time::Duration;

use super::Body;
use crate::io::{ConnectionId, Context};
use crate::membership::{Edit, EditId, edit_of};
use crate::time::Time;
use crate::wire::{Message, OperatorRefusal, OperatorRequest, ServerReply};

/// How long the coordinator may take to record what an operator wants.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

impl Body {
    /// Records what an operator wants, or says why not.
    pub(super) fn on_operator(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        call: u64,
        request: OperatorRequest,
    ) {
        let deadline = cx.now + RECORD_TIMEOUT;
        let edit = edit_of(self.agent.directory(), request);
        let recorded = edit.and_then(|edit| self.edit(cx, edit, Some(deadline)));
        match recorded {
            Ok(edit) => drop(self.operators.insert(edit, (conn, call))),
            Err(refusal) => self.tell_operator(cx, conn, call, Err(refusal)),
        }
    }

    /// Has the agent record something. Its end is told later, even if it is known at once.
    pub(super) fn edit(
        &mut self,
        cx: &mut Context<'_>,
        edit: Edit,
        deadline: Option<Time>,
    ) -> Result<EditId, OperatorRefusal> {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let id = self.agent.edit(cx, edit, deadline, &mut out, &mut events)?;
        self.tell_coordinator(cx, out);
        self.hear_agent(events);
        Ok(id)
    }

    /// An edit has ended: whoever waits for it is told.
    pub(super) fn on_edited(
        &mut self,
        cx: &mut Context<'_>,
        edit: EditId,
        result: Result<(), OperatorRefusal>,
    ) {
        if let Some((conn, call)) = self.operators.remove(&edit) {
            self.tell_operator(cx, conn, call, result);
        }
    }

    fn tell_operator(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        call: u64,
        result: Result<(), OperatorRefusal>,
    ) {
        let reply = ServerReply::Operated { call, result };
        self.links.send(cx, conn, &Message::Server(reply));
    }
}
