//! What is on its way between one session and one node: over the connection they have, and over
//! those that the session has lost.

use std::collections::VecDeque;

use waltz_core::io::Caller;

use crate::machines::{Answer, Request, caller};
use crate::shared::{Machine, Shared};

/// A connection that the session has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Connection {
    pub(crate) caller: Caller,
    pub(crate) requests: VecDeque<Shared<Request>>,
    pub(crate) answers: VecDeque<Shared<Answer>>,
    /// The node is at the other end no longer, and the session does not know yet.
    pub(crate) is_dead: bool,
}

/// Requests that may still arrive, though nobody waits for their answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Late {
    caller: Caller,
    requests: VecDeque<Shared<Request>>,
}

/// All connections from one session to one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// The number of the next connection.
    next: u64,
    connection: Option<Connection>,
    late: Vec<Late>,
}

/// What can happen to a channel.
#[derive(Debug, Clone, Hash)]
pub(crate) enum ChannelOperation {
    /// A new connection is made.
    Connect,
    /// The session asks; over a dead connection nothing arrives.
    Ask(Shared<Request>),
    /// The node answers what came over a connection.
    Answer(Caller, Shared<Answer>),
    /// The next request arrives.
    TakeRequest,
    /// The next request of a lost connection arrives.
    TakeLate(usize),
    /// The next answer arrives.
    TakeAnswer,
    /// The session loses its connection. Answers are lost; requests are on their way still.
    Lose,
    /// The node loses power: nothing reaches it any more. What it sent may still arrive.
    Die,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum ChannelStep {
    /// Nothing.
    Nothing,
    /// A request arrives.
    Request(Caller, Shared<Request>),
    /// A request arrives, and nothing more can come of its connection.
    LastRequest(Caller, Shared<Request>),
    /// An answer arrives.
    Answer(Shared<Answer>),
    /// Nothing more can come of a connection.
    Closed(Caller),
}

impl Channel {
    /// A channel whose connections are numbered from `first` on.
    pub(crate) fn new(first: u64) -> Self {
        Self { next: first, connection: None, late: Vec::new() }
    }

    /// The connection that the session has.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// How many lost connections have requests on their way.
    pub(crate) fn late(&self) -> usize {
        self.late.len()
    }

    /// Whether answers over this connection arrive.
    pub(crate) fn is_live(&self, caller: Caller) -> bool {
        self.connection.as_ref().is_some_and(|c| c.caller == caller && !c.is_dead)
    }

    fn connect(&mut self) {
        assert!(self.connection.is_none(), "one connection at a time");
        let caller = caller(self.next);
        self.next += 1;
        let (requests, answers) = (VecDeque::new(), VecDeque::new());
        self.connection = Some(Connection { caller, requests, answers, is_dead: false });
    }

    fn connected(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("the session has a connection")
    }

    fn take_late(&mut self, index: usize) -> ChannelStep {
        let Late { caller, requests } = &mut self.late[index];
        let caller = *caller;
        let request = requests.pop_front().expect("a lost connection without any is closed");
        if !requests.is_empty() {
            return ChannelStep::Request(caller, request);
        }
        self.late.remove(index);
        ChannelStep::LastRequest(caller, request)
    }

    fn lose(&mut self) -> ChannelStep {
        let lost = self.connection.take().filter(|connection| !connection.is_dead);
        let Some(Connection { caller, requests, .. }) = lost else { return ChannelStep::Nothing };
        if requests.is_empty() {
            return ChannelStep::Closed(caller);
        }
        self.late.push(Late { caller, requests });
        ChannelStep::Nothing
    }

    fn die(&mut self) {
        self.late.clear();
        if let Some(connection) = &mut self.connection {
            connection.requests.clear();
            connection.is_dead = true;
        }
    }
}

impl Machine for Channel {
    type Operation = ChannelOperation;
    type Step = ChannelStep;

    fn apply(&mut self, operation: ChannelOperation) -> ChannelStep {
        match operation {
            ChannelOperation::Connect => self.connect(),
            ChannelOperation::Ask(request) => {
                let connection = self.connected();
                if !connection.is_dead {
                    connection.requests.push_back(request);
                }
            }
            ChannelOperation::Answer(caller, answer) => {
                let connection = self.connected();
                assert_eq!(connection.caller, caller, "answers go where they were asked for");
                connection.answers.push_back(answer);
            }
            ChannelOperation::TakeRequest => {
                let connection = self.connected();
                let request = connection.requests.pop_front().expect("a request is on its way");
                return ChannelStep::Request(connection.caller, request);
            }
            ChannelOperation::TakeLate(index) => return self.take_late(index),
            ChannelOperation::TakeAnswer => {
                let answer = self.connected().answers.pop_front();
                return ChannelStep::Answer(answer.expect("an answer is on its way"));
            }
            ChannelOperation::Lose => return self.lose(),
            ChannelOperation::Die => self.die(),
        }
        ChannelStep::Nothing
    }
}
