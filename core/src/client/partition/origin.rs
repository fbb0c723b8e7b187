//! Where the feed starts: the application says what it has applied, or a server what is newest.

use super::Partition;
use super::feed::Feed;
use crate::client::base::Base;
use crate::client::call::{Failure, Start};
use crate::client::io::{Attachment, ClientEffect};
use crate::id::Mark;
use crate::io::Level;
use crate::time::Time;

/// Whether it is known where the feed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The application is asked.
    Asked,
    /// It is to be asked again.
    AskAt(Time),
    /// A server is to be asked for the newest mark.
    Newest,
    /// It starts after what the application has applied.
    Known,
}

impl Partition {
    /// The application said where its database stands, or why it can't.
    pub(in crate::client) fn began(&mut self, base: &mut Base, start: Result<Start, String>) {
        if self.origin != Origin::Asked {
            return;
        }
        if let (Ok(start), Some(trimmed)) = (&start, self.trimmed) {
            let knows = match start {
                Start::After(mark) => *mark,
                Start::Newest => self.feed.received,
            };
            if knows < trimmed {
                return self.fail(base, Failure::Trimmed { client: knows, start: trimmed });
            }
        }
        match start {
            Ok(Start::After(mark)) => self.start(base, mark),
            Ok(Start::Newest) => self.origin = Origin::Newest,
            Err(error) => {
                let pause = self.next_pause(base);
                self.origin = Origin::AskAt(base.now + pause);
                base.wake_by(base.now + pause);
                self.problem = format!("the application can't tell its high-water mark: {error}");
                base.report(Level::Warning, Some(self.id()), self.problem.clone());
            }
        }
    }

    /// Asks the application again, if it could not tell and has had its pause.
    pub(super) fn ask_when_due(&mut self, base: &mut Base) {
        if let Origin::AskAt(time) = self.origin {
            if time <= base.now {
                self.origin = Origin::Asked;
                base.push(ClientEffect::Begin { attachment: self.attachment });
            } else {
                base.wake_by(time);
            }
        }
    }

    /// Whether a server is to be asked for the newest mark.
    pub(in crate::client) fn wants_newest(&self) -> bool {
        self.origin == Origin::Newest
    }

    /// The answer to that.
    pub(in crate::client) fn newest(&mut self, base: &mut Base, mark: Mark) {
        if self.origin == Origin::Newest {
            self.start(base, mark);
        }
    }

    /// Asks the application again where its database stands. Of what is outstanding nobody can tell
    /// whether it is among what was trimmed.
    pub(in crate::client) fn begin_again(&mut self, base: &mut Base, attachment: Attachment) {
        self.window.doubt(base);
        self.feed.end(base);
        base.push(ClientEffect::Detach { attachment: self.attachment });
        base.push(ClientEffect::Begin { attachment });
        self.attachment = attachment;
        self.origin = Origin::Asked;
    }

    fn start(&mut self, base: &mut Base, mark: Mark) {
        self.origin = Origin::Known;
        self.trimmed = None;
        self.feed = Feed::new(self.attachment, mark);
        self.window.start(base, mark);
        "no server has been reached yet".clone_into(&mut self.problem);
        base.push(ClientEffect::Attached { attachment: self.attachment, mark });
    }
}
