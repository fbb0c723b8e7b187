//! What reads find: records for those who ask, and damage, which is remembered, reported, and told
//! to the server that can repair it.

use bytes::Bytes;

use crate::id::{IdRange, PartitionId};
use crate::io::{Context, Level, Ticket};
use crate::time::Time;
use crate::wire::ReplicaAnswer;

use super::ranges::named_ranges;
use super::reads::Wanted;
use super::salvage::Contents;
use super::{Storage, StorageReply};

impl Storage {
    /// Begins after the replay: says what is wrong with what was found, and starts to look for rot.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        if self.suspect {
            let text = "the journal lost entries, and nobody can tell which: the replicas of this \
                        node are suspect; they only give the records that they still have; \
                        replace them by replicas on other disks";
            cx.report(Level::Error, None, text.to_owned());
        }
        for (partition, hosted) in
            self.hosted.iter().filter(|(_, hosted)| !hosted.replica.is_whole())
        {
            let ranges = named_ranges(&hosted.unrepaired());
            let text = format!("the journal is damaged: {} can't be read here", listed(&ranges));
            cx.report(Level::Error, Some(*partition), text);
        }
        self.scrub.start(cx.now);
        self.scrub.advance(cx, &self.hosted);
    }

    /// When the timer is due.
    pub fn deadline(&self) -> Option<Time> {
        let moving = self.moves.deadline().filter(|_| !self.is_full);
        self.scrub.deadline().into_iter().chain(moving).min()
    }

    /// Goes on looking for rot, and moving records.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.go_on_moving(cx);
        self.scrub.advance(cx, &self.hosted);
    }

    /// A read ended. Tickets of others are ignored.
    pub fn on_read(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        result: &Result<Vec<Bytes>, String>,
        replies: &mut Vec<StorageReply>,
    ) {
        if let Some(read) = self.reads.take(ticket) {
            let partition = read.query.asker.partition;
            let bodies = self.bodies(cx, partition, &read.wanted, result, replies);
            match bodies {
                Ok(bodies) => {
                    let replica = &self.hosted[&partition].replica;
                    let rotten = read.finish(replica, bodies, &self.limits, replies);
                    for (wanted, contents) in rotten {
                        self.examined(cx, partition, wanted, &contents, replies);
                    }
                }
                Err(error) => replies.push(read.query.failed(error)),
            }
        } else if self.on_part_read(cx, ticket, result)
            || self.on_moved_read(cx, ticket, result, replies)
        {
            return;
        } else if let Some(read) = self.scrub.take(ticket, cx.now) {
            let partition = read.partition;
            if let Ok(bodies) = self.bodies(cx, partition, &read.wanted, result, replies) {
                for (wanted, body) in read.wanted.iter().zip(bodies) {
                    let Wanted { session, piece } = *wanted;
                    let contents = Contents::of(session, piece.run, body, &self.limits);
                    self.examined(cx, partition, *wanted, &contents, replies);
                }
            }
        }
        self.scrub.advance(cx, &self.hosted);
    }

    /// The bodies that a read brought. If it brought none, it is found out whose fault that is.
    pub(super) fn bodies<'a>(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        wanted: &[Wanted],
        result: &'a Result<Vec<Bytes>, String>,
        replies: &mut Vec<StorageReply>,
    ) -> Result<&'a [Bytes], String> {
        let error = match result {
            Ok(bodies) if bodies.len() == wanted.len() => return Ok(bodies),
            Ok(bodies) => {
                let (asked, came) = (wanted.len(), bodies.len());
                format!("the journal gave {came} bodies where {asked} were asked for")
            }
            Err(error) => format!("they can't be read: {error}"),
        };
        match wanted {
            [one] => {
                let contents = Contents::unreadable(one.piece.run, &error);
                self.examined(cx, partition, *one, &contents, replies);
            }
            many => many.iter().for_each(|one| self.scrub.probe(partition, *one)),
        }
        Err(error)
    }

    /// A body was read, for whatever reason: what it lacks is damage.
    pub(super) fn examined(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        wanted: Wanted,
        contents: &Contents,
        replies: &mut Vec<StorageReply>,
    ) {
        let hosted = self.hosted.get_mut(&partition).expect("replicas are never removed");
        let run = wanted.piece.run;
        let Some(lost) = hosted.replica.examined(run, &contents.lost) else { return };
        let which = format!(
            "the run of {} records from {} (segment {}, offset {})",
            run.count, run.first, run.place.segment, run.place.offset,
        );
        match &contents.fault {
            Some(fault) if !lost.is_empty() => {
                let lost = listed(&lost);
                let text = format!("{which} is damaged: {fault}; {lost} can't be read here");
                cx.report(Level::Error, Some(partition), text);
            }
            _ => cx.report(Level::Info, Some(partition), format!("{which} can be read after all")),
        }
        self.tell_server(partition, replies);
    }

    /// Tells the server concerned what can't be read here.
    fn tell_server(&mut self, partition: PartitionId, replies: &mut Vec<StorageReply>) {
        let hosted = &self.hosted[&partition];
        if let Some(server) = hosted.concerned() {
            let ranges = named_ranges(&hosted.unrepaired());
            self.answers.wait(server, ReplicaAnswer::Damaged { ranges }, replies);
        }
    }

    /// Tells the server concerned of damage, if there is any.
    pub(super) fn tell_damage(&mut self, partition: PartitionId, replies: &mut Vec<StorageReply>) {
        if self.hosted.get(&partition).is_some_and(|hosted| !hosted.replica.is_whole()) {
            self.tell_server(partition, replies);
        }
    }
}

fn listed(ranges: &[IdRange]) -> String {
    const NAMED: usize = 8;
    let named: Vec<_> = ranges.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if ranges.len() > NAMED { " and more" } else { "" };
    format!("{}{more}", named.join(", "))
}
