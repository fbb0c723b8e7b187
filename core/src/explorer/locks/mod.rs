//! A served partition and its locks: appends that race each other, servers that die and leave their
//! successors to rebuild the lock table from the log, clients that compute on old marks. What the
//! server says to each append is compared with a [scan](scan) of the whole log.
//!
//! It promises: no record in the log checks a lock that was changed after the mark it was computed
//! at; what is refused is refused for the newest reason, exactly inside the window and, below it,
//! as a precaution that is told as one; every server gives the answers of the one before it; a
//! conflict is told once its cause is committed; a feed has no gap and only what is committed. When
//! faults end, every append is decided, and told.

mod client;
mod oracle;
mod scan;
mod world;

use super::Violation;
use super::draw::Draw;
use super::explore::{Broken, Explore, explore};
use crate::id::ClientId;
use crate::locks::LockWindow;
use crate::locks::testing::Locks;
use crate::planted::Planted;
use crate::time::Random;
use world::World;

const STEPS: usize = 400;
/// How many locks there are.
const LOCKS: usize = 8;

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// A client appends.
    Append,
    /// What was appended is sent.
    EndTurn,
    /// A request arrives at the disk's node.
    Request,
    /// An answer arrives at the server.
    Answer,
    /// Entries become durable.
    Sync,
    /// A read of the disk ends.
    Read,
    /// A client mounts, for the first time or once more.
    Mount,
    /// A client takes more of its feed.
    Credit,
    /// All goes well for a while.
    Settle,
    /// Time passes.
    Wait,
    /// The server is lost, and perhaps what its node had not made durable.
    FailOver,
}

const WEIGHTS: [(Action, u64); 11] = [
    (Action::Append, 40),
    (Action::EndTurn, 20),
    (Action::Request, 20),
    (Action::Answer, 20),
    (Action::Sync, 20),
    (Action::Read, 6),
    (Action::Mount, 6),
    (Action::Credit, 6),
    (Action::Settle, 10),
    (Action::Wait, 2),
    (Action::FailOver, 1),
];

/// One run.
pub(super) fn run(seed: u64, planted: Planted) -> Result<(), Violation> {
    explore(seed, &mut Run::new(seed, planted))
}

struct Run {
    random: Random,
    weights: Vec<(Action, u64)>,
    /// How far back the marks go that clients compute at.
    lag: usize,
    world: World,
    steps: usize,
}

impl Run {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let weights = random.weather(&WEIGHTS, |action| {
            !matches!(action, Action::Wait | Action::FailOver | Action::Credit)
        });
        let window = LockWindow { records: 1 + random.below(30) as u64, locks: random.below(40) };
        let lag = 1 + random.below(20);
        let world = World::new(window, random.bits(), planted);
        Self { random, weights, lag, world, steps: 0 }
    }

    fn act(&mut self) -> Result<(), Broken> {
        let clients: Vec<_> = self.world.clients.keys().copied().collect();
        let client = clients[self.random.below(clients.len())];
        match self.random.weighted(&self.weights) {
            Action::Append => {
                let locks = self.locks(client);
                self.world.append(client, locks)
            }
            Action::EndTurn => self.world.end_turn(),
            Action::Request => {
                self.world.deliver_request();
                Ok(())
            }
            Action::Answer => self.world.deliver_answer().map(|_| ()),
            Action::Sync => self.world.sync(1 + self.random.below(4)).map(|_| ()),
            Action::Read => {
                self.world.finish_read();
                Ok(())
            }
            Action::Mount => {
                // Who is mounted mounts once more only now and then.
                let again = self.random.chance(8);
                match again || !self.world.clients[&client].is_mounted() {
                    true => self.world.mount(client, [100, 1 << 20][self.random.below(2)]),
                    false => Ok(()),
                }
            }
            Action::Credit => self.world.credit(client, 1 + self.random.below(300) as u32),
            Action::Settle => self.world.drain(),
            Action::Wait => self.world.wait(),
            Action::FailOver => {
                let (arriving, with_node) = (self.random.below(4), self.random.chance(2));
                self.world.fail_over(arriving, with_node)
            }
        }
    }

    /// Locks of a record, computed at something that its client was fed.
    fn locks(&mut self, client: ClientId) -> Locks {
        let fed = self.world.clients[&client].fed.count();
        let computed_at = fed.saturating_sub(self.random.below(self.lag) as u64);
        let mut some = |most: usize| -> Vec<u64> {
            let count = self.random.below(most + 1);
            (0..count).map(|_| self.random.below(LOCKS) as u64).collect()
        };
        Locks { computed_at, writes: some(1), reads: some(2), appends: some(1) }
    }

    /// Nothing fails any more: all that was appended is decided, and everybody knows.
    fn settle(&mut self) -> Result<(), Broken> {
        for _ in 0..1_000 {
            for client in self.world.clients.keys().copied().collect::<Vec<_>>() {
                match self.world.clients[&client].is_mounted() {
                    true => self.world.credit(client, 1 << 20)?,
                    false => self.world.mount(client, 1 << 20)?,
                }
            }
            self.world.drain()?;
            let committed = self.world.oracle.committed();
            let mut clients = self.world.clients.values();
            if clients.all(|it| it.is_ready && it.fed == committed)
                && self.world.oracle.is_content()
            {
                return Ok(());
            }
            self.world.wait()?;
        }
        Err(format!("it does not end: {:?}, {:?}", self.world.clients, self.world.oracle))
    }
}

impl Explore for Run {
    fn whole(&mut self) -> Result<(), Broken> {
        self.world.begin()?;
        while self.steps < STEPS {
            self.act()?;
            self.steps += 1;
        }
        self.settle()
    }

    fn steps(&self) -> usize {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs go somewhere: they commit, and servers refuse.
    #[test]
    fn the_runs_reach_what_they_are_for() {
        let (mut committed, mut exact, mut precautions) = (0, 0, 0);
        for seed in 0..50 {
            let mut run = Run::new(seed, Planted::NONE);
            explore(seed, &mut run).expect("nothing is broken");
            committed += run.world.oracle.committed().count();
            let refused = run.world.oracle.refused_so_far();
            (exact, precautions) = (exact + refused.0, precautions + refused.1);
        }
        let reached = [committed, exact, precautions];
        assert!(reached.iter().all(|count| *count > 50), "{reached:?}");
    }
}
