//! Questions to servers: each is numbered, sent again when its connection is lost, and given up
//! when its time is over. Concurrent fetches of one record are one question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::access::AccessRefusal;
use crate::id::{Mark, NodeId, PartitionId, TransactionId};
use crate::io::ConnectionId;
use crate::record::RecordView;
use crate::time::Time;
use crate::wire::{
    ClientRequest, FetchRefusal, NodeInspection, NodeStatus, OperatorRefusal, OperatorRequest,
};

use super::base::Base;
use super::call::{Answer, CallId, Unanswered};
use super::cluster::Cluster;
use super::io::Attachment;
use super::links::Links;
use super::partition::Violation;

/// How long to wait before asking again a server that does not serve the partition.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Requests {
    numbered: u64,
    requests: BTreeMap<u64, Request>,
    fetches: BTreeMap<(PartitionId, TransactionId), u64>,
    /// Those to be sent, at once or later.
    unsent: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    what: What,
    sent: Option<ConnectionId>,
    not_before: Time,
    deadline: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Fetch { partition: PartitionId, id: TransactionId, waiters: Vec<CallId> },
    Status { call: CallId, node: Option<NodeId> },
    Inspect { call: CallId, node: Option<NodeId> },
    Mark { partition: PartitionId, purpose: Purpose },
    Operate { call: CallId, request: OperatorRequest },
}

/// What a confirmed mark is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A feed starts at the newest transaction.
    Begin(Attachment),
    /// A flush waits for it.
    Flush(CallId),
}

/// A confirmed mark, or that it could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) partition: PartitionId,
    pub(super) purpose: Purpose,
    pub(super) mark: Result<Mark, Unanswered>,
}

impl Requests {
    pub(super) fn fetch(
        &mut self,
        base: &mut Base,
        call: CallId,
        partition: PartitionId,
        id: TransactionId,
    ) {
        if let Some(number) = self.fetches.get(&(partition, id))
            && let Some(Request { what: What::Fetch { waiters, .. }, .. }) =
                self.requests.get_mut(number)
        {
            waiters.push(call);
            return;
        }
        let number = self.add(base, What::Fetch { partition, id, waiters: vec![call] });
        self.fetches.insert((partition, id), number);
    }

    pub(super) fn status(&mut self, base: &mut Base, call: CallId, node: Option<NodeId>) {
        self.add(base, What::Status { call, node });
    }

    pub(super) fn inspect(&mut self, base: &mut Base, call: CallId, node: Option<NodeId>) {
        self.add(base, What::Inspect { call, node });
    }

    pub(super) fn mark(&mut self, base: &mut Base, partition: PartitionId, purpose: Purpose) {
        self.add(base, What::Mark { partition, purpose });
    }

    pub(super) fn operate(&mut self, base: &mut Base, call: CallId, request: OperatorRequest) {
        self.add(base, What::Operate { call, request });
    }

    fn add(&mut self, base: &mut Base, what: What) -> u64 {
        self.numbered += 1;
        let deadline = base.now + base.config.request_timeout;
        base.wake_by(deadline);
        let request = Request { what, sent: None, not_before: base.now, deadline };
        self.requests.insert(self.numbered, request);
        self.unsent.insert(self.numbered);
        self.numbered
    }

    /// The nodes these questions go to.
    pub(super) fn wanted<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = NodeId> + 'a {
        self.requests.values().filter_map(|request| request.what.node(cluster))
    }

    /// Sends what can be sent.
    pub(super) fn send(&mut self, base: &mut Base, cluster: &Cluster, links: &Links) {
        let unsent: Vec<u64> = self.unsent.iter().copied().collect();
        for number in unsent {
            let Some(request) = self.requests.get_mut(&number) else { continue };
            if request.not_before > base.now {
                base.wake_by(request.not_before);
                continue;
            }
            let message = request.what.message(number);
            let needed = message.since();
            let conn = match request.what.is_for_anyone() {
                true => links.any(needed),
                false => request.what.node(cluster).and_then(|node| links.to(node)),
            };
            let Some(conn) = conn else { continue };
            let spoken = links.version(conn);
            if spoken < needed {
                self.end(base, number, Err(Unanswered::TooOld { spoken, needed }));
                continue;
            }
            request.sent = Some(conn);
            self.unsent.remove(&number);
            if let Err(error) = base.ask_in(conn, spoken, message) {
                self.end(base, number, Err(Unanswered::TooLong(error)));
            }
        }
    }

    /// A connection is gone: what was asked there is asked again.
    pub(super) fn lost(&mut self, conn: ConnectionId) {
        for (number, request) in &mut self.requests {
            if request.sent == Some(conn) {
                request.sent = None;
                self.unsent.insert(*number);
            }
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        payload: Bytes,
    ) -> Result<(), Violation> {
        let Some(What::Fetch { partition, id, .. }) = self.sent(conn, number) else {
            return Ok(());
        };
        let (partition, id) = (*partition, *id);
        match RecordView::parse(&payload, &base.config.limits) {
            Ok((record, [])) if record.id() == id && record.req_id().partition == partition => {
                self.end(base, number, Ok(Answer::Record(payload)));
                Ok(())
            }
            Ok(_) => Err(Violation(format!("another record than {partition}/{id} was fetched"))),
            Err(error) => Err(Violation(format!("a fetched record can't be read: {error}"))),
        }
    }

    pub(super) fn on_status(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        status: NodeStatus,
    ) {
        if let Some(What::Status { .. }) = self.sent(conn, number) {
            self.end(base, number, Ok(Answer::Status(status)));
        }
    }

    pub(super) fn on_inspected(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        inspection: NodeInspection,
    ) {
        if let Some(What::Inspect { .. }) = self.sent(conn, number) {
            self.end(base, number, Ok(Answer::Inspection(Box::new(inspection))));
        }
    }

    pub(super) fn on_mark(
        &mut self,
        conn: ConnectionId,
        number: u64,
        mark: Mark,
    ) -> Option<Marked> {
        let Some(What::Mark { partition, purpose }) = self.sent(conn, number) else { return None };
        let marked = Marked { partition: *partition, purpose: *purpose, mark: Ok(mark) };
        self.requests.remove(&number);
        Some(marked)
    }

    pub(super) fn on_refused(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        reason: FetchRefusal,
    ) -> Option<Marked> {
        self.sent(conn, number)?;
        if reason != FetchRefusal::NotOwner {
            return self.end(base, number, Err(Unanswered::Refused(reason)));
        }
        self.ask_later(base, number);
        None
    }

    pub(super) fn on_operated(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        result: Result<(), OperatorRefusal>,
    ) {
        let Some(What::Operate { .. }) = self.sent(conn, number) else { return };
        match result {
            Err(OperatorRefusal::NotOwner) => self.ask_later(base, number),
            result => {
                let answer = result.map(|()| Answer::Done).map_err(Unanswered::NotGranted);
                self.end(base, number, answer);
            }
        }
    }

    pub(super) fn on_denied(
        &mut self,
        base: &mut Base,
        conn: ConnectionId,
        number: u64,
        refusal: AccessRefusal,
    ) -> Option<Marked> {
        self.sent(conn, number)?;
        self.end(base, number, Err(Unanswered::Denied(refusal)))
    }

    /// The node that was asked does not serve the partition: after a pause another one may.
    fn ask_later(&mut self, base: &mut Base, number: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.sent = None;
            request.not_before = base.now + base.random.between(RETRY_PAUSE / 2, RETRY_PAUSE);
            base.wake_by(request.not_before);
            self.unsent.insert(number);
        }
    }

    fn sent(&self, conn: ConnectionId, number: u64) -> Option<&What> {
        let request = self.requests.get(&number)?;
        (request.sent == Some(conn)).then_some(&request.what)
    }

    /// Gives up what has waited too long; `problem`: what went wrong last.
    pub(super) fn on_timer(&mut self, base: &mut Base, problem: &str) -> Vec<Marked> {
        let mut due = Vec::new();
        for (number, request) in &self.requests {
            if request.deadline <= base.now {
                due.push(*number);
            } else {
                base.wake_by(request.deadline);
            }
        }
        let why = || Unanswered::TimedOut(problem.to_owned());
        due.into_iter().filter_map(|number| self.end(base, number, Err(why()))).collect()
    }

    /// Nothing is answered any more.
    pub(super) fn close(&mut self, base: &mut Base) {
        while let Some((number, _)) = self.requests.first_key_value() {
            self.end(base, *number, Err(Unanswered::Closed));
        }
    }

    fn end(
        &mut self,
        base: &mut Base,
        number: u64,
        answer: Result<Answer, Unanswered>,
    ) -> Option<Marked> {
        self.unsent.remove(&number);
        match self.requests.remove(&number)?.what {
            What::Fetch { partition, id, waiters } => {
                self.fetches.remove(&(partition, id));
                for call in waiters {
                    base.answer(call, answer.clone());
                }
                None
            }
            What::Status { call, .. } | What::Inspect { call, .. } | What::Operate { call, .. } => {
                base.answer(call, answer);
                None
            }
            What::Mark { partition, purpose } => {
                Some(Marked { partition, purpose, mark: Err(answer.err()?) })
            }
        }
    }
}

impl What {
    /// Whether any node can answer it.
    fn is_for_anyone(&self) -> bool {
        match self {
            Self::Status { node, .. } | Self::Inspect { node, .. } => node.is_none(),
            Self::Operate { request, .. } => !matches!(request, OperatorRequest::Trim { .. }),
            Self::Fetch { .. } | Self::Mark { .. } => false,
        }
    }

    /// The one node that can answer it.
    fn node(&self, cluster: &Cluster) -> Option<NodeId> {
        match self {
            Self::Fetch { partition, .. }
            | Self::Mark { partition, .. }
            | Self::Operate { request: OperatorRequest::Trim { partition, .. }, .. } => {
                cluster.owner(*partition).map(|(node, _)| node)
            }
            Self::Status { node, .. } | Self::Inspect { node, .. } => *node,
            Self::Operate { .. } => None,
        }
    }

    fn message(&self, call: u64) -> ClientRequest {
        match self {
            Self::Fetch { partition, id, .. } => {
                ClientRequest::Fetch { partition: *partition, call, id: *id }
            }
            Self::Status { .. } => ClientRequest::Status { call },
            Self::Inspect { .. } => ClientRequest::Inspect { call },
            Self::Mark { partition, .. } => ClientRequest::Current { partition: *partition, call },
            Self::Operate { request, .. } => {
                ClientRequest::Operate { call, request: request.clone() }
            }
        }
    }
}
