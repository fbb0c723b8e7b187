//! The verdict on a run: everything that must hold between what was submitted, the log, and the
//! databases that were built from it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::account::AccountId;
use crate::database::Statement;
use crate::ledger::Ledger;
use crate::replay::Replay;
use crate::tally::{Callback, Ending, Fate, Tally};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// An operation ended never, or more than once.
    #[error("operation {number} ended {times} times, not once")]
    Endings {
        /// The operation.
        number: u64,
        /// How often it ended.
        times: usize,
    },
    /// Callback and outcome contradict each other.
    #[error("operation {number} ended as {ending:?}, but its callbacks were told {told:?}")]
    Callbacks {
        /// The operation.
        number: u64,
        /// Its outcome.
        ending: Ending,
        /// What the callbacks were told.
        told: Vec<Callback>,
    },
    /// A commit was reported, and the log does not have it.
    #[error("operation {number} was reported committed, and is not in the log")]
    Lost {
        /// The operation.
        number: u64,
    },
    /// It was reported not to be in the log, and it is.
    #[error("operation {number} was reported as {ending:?}, and is in the log")]
    Risen {
        /// The operation.
        number: u64,
        /// What was reported.
        ending: Ending,
    },
    /// The log has more operations than were submitted.
    #[error("the log has {found} operations, of which {known} were submitted")]
    Foreign {
        /// In the log.
        found: u64,
        /// Of these submitted.
        known: u64,
    },
    /// Money came from nowhere, or went there.
    #[error("the {database} database holds {found} cents, not {expected}")]
    Money {
        /// Which database.
        database: &'static str,
        /// What it holds in all.
        found: i64,
        /// What it should.
        expected: i64,
    },
    /// A database differs from the replayed log.
    #[error("{account} has {found:?} in the {database} database and {expected:?} by the log")]
    Balance {
        /// Which database.
        database: &'static str,
        /// Whose.
        account: AccountId,
        /// What it says.
        found: Option<i64>,
        /// What the log says.
        expected: Option<i64>,
    },
    /// A statement's lines do not add up.
    #[error(
        "the statement of {account} has balance {found} after operation {number}, not {expected}"
    )]
    Statement {
        /// Whose.
        account: AccountId,
        /// The line's operation.
        number: u64,
        /// What it says.
        found: i64,
        /// What its lines add up to.
        expected: i64,
    },
    /// The log and the bank's own column disagree.
    #[error("line {line}: the bank has balance {expected}, the log yields {found:?}")]
    Ledger {
        /// The ledger's line.
        line: u64,
        /// What the log yields; `None` when the row is not in it.
        found: Option<i64>,
        /// What the bank says.
        expected: i64,
    },
}

/// What a run left behind, to be judged.
#[derive(Debug)]
pub struct Audit<'a> {
    /// What was submitted.
    pub tally: &'a Tally,
    /// The log, replayed from id 0.
    pub replay: &'a Replay,
    /// The balances that all service instances share.
    pub shared: &'a BTreeMap<AccountId, i64>,
    /// The balances that the independent consumer derived.
    pub derived: &'a BTreeMap<AccountId, i64>,
    /// The statements it derived, by account.
    pub statements: &'a [Statement],
    /// What every account opened with.
    pub opening_cents: i64,
    /// The ledger that was played, if one was.
    pub ledger: Option<&'a Ledger>,
}

impl Audit<'_> {
    /// Everything that is wrong; nothing, when all is well.
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let fates = self.tally.snapshot();
        for (number, fate) in &fates {
            violations.extend(self.check_fate(*number, fate));
        }
        let found = self.replay.operations();
        let known = fates.keys().filter(|number| self.replay.has(**number)).count() as u64;
        if found != known {
            violations.push(Violation::Foreign { found, known });
        }
        for (database, balances) in [("shared", self.shared), ("derived", self.derived)] {
            self.check_balances(database, balances, &mut violations);
        }
        self.check_statements(&mut violations);
        self.check_ledger(&mut violations);
        violations
    }

    fn check_fate(&self, number: u64, fate: &Fate) -> Option<Violation> {
        let [ending] = &fate.endings[..] else {
            return Some(Violation::Endings { number, times: fate.endings.len() });
        };
        let logged = self.replay.has(number);
        match ending {
            _ if fate.callbacks != [ending.callback()] => {
                let (ending, told) = (ending.clone(), fate.callbacks.clone());
                Some(Violation::Callbacks { number, ending, told })
            }
            Ending::Committed(_) if !logged => Some(Violation::Lost { number }),
            Ending::Ignored | Ending::Failed(_) if logged => {
                Some(Violation::Risen { number, ending: ending.clone() })
            }
            _ => None,
        }
    }

    fn check_balances(
        &self,
        database: &'static str,
        balances: &BTreeMap<AccountId, i64>,
        violations: &mut Vec<Violation>,
    ) {
        let expected = self.replay.balances();
        for account in expected.keys().chain(balances.keys().filter(|a| !expected.contains_key(a)))
        {
            let (found, expected) =
                (balances.get(account).copied(), expected.get(account).copied());
            if found != expected {
                let account = *account;
                violations.push(Violation::Balance { database, account, found, expected });
            }
        }
        // A ledger brings money in and takes it out; transfers only move it.
        if self.ledger.is_none() {
            let found = balances.values().sum();
            let expected = self.opening_cents * balances.len() as i64;
            if found != expected {
                violations.push(Violation::Money { database, found, expected });
            }
        }
    }

    fn check_statements(&self, violations: &mut Vec<Violation>) {
        let (mut account, mut balance) = (None, 0);
        for line in self.statements {
            if account != Some(line.account) {
                (account, balance) = (Some(line.account), self.opening_cents);
            }
            balance += line.cents;
            if line.balance != balance {
                violations.push(Violation::Statement {
                    account: line.account,
                    number: line.number,
                    found: line.balance,
                    expected: balance,
                });
                balance = line.balance;
            }
        }
    }

    fn check_ledger(&self, violations: &mut Vec<Violation>) {
        for row in self.ledger.map_or(&[][..], |ledger| &ledger.rows) {
            let found = self.replay.balance_after(row.transaction);
            if found != Some(row.balance_cents) {
                let (line, expected) = (row.line, row.balance_cents);
                violations.push(Violation::Ledger { line, found, expected });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use waltz_core::id::{PartitionId, TransactionId};

    use super::*;
    use crate::operation::Operation;

    const OPENING: i64 = 100;

    /// One committed transfer of 10 from account 0 to 1, one ignored.
    struct Run {
        tally: Tally,
        replay: Replay,
        shared: BTreeMap<AccountId, i64>,
        derived: BTreeMap<AccountId, i64>,
        statements: Vec<Statement>,
    }

    impl Run {
        fn sound() -> Self {
            let (from, to) = (AccountId(0), AccountId(1));
            let operation = Operation::Transfer { number: 1, from, to, cents: 10 };
            let mut replay = Replay::new(OPENING);
            replay.apply(PartitionId(0), TransactionId(0), &operation).unwrap();
            let tally = Tally::new();
            tally.ended(1, Ending::Committed(TransactionId(0)));
            tally.told(1, Callback::Committed);
            tally.ended(2, Ending::Ignored);
            tally.told(2, Callback::Ignored);
            let balances = replay.balances().clone();
            let statements = vec![
                Statement { account: from, number: 1, cents: -10, balance: 90 },
                Statement { account: to, number: 1, cents: 10, balance: 110 },
            ];
            Self { tally, replay, shared: balances.clone(), derived: balances, statements }
        }

        fn violations(&self) -> Vec<String> {
            let Self { tally, replay, shared, derived, statements } = self;
            let (opening_cents, ledger) = (OPENING, None);
            Audit { tally, replay, shared, derived, statements, opening_cents, ledger }
                .violations()
                .iter()
                .map(Violation::to_string)
                .collect()
        }
    }

    #[test]
    fn a_sound_run_has_no_violations() {
        assert_eq!(Run::sound().violations(), [""; 0]);
    }

    #[test]
    fn each_lie_about_an_ending_is_found() {
        let run = Run::sound();
        run.tally.submitted(3);
        run.tally.ended(4, Ending::Committed(TransactionId(9)));
        run.tally.told(4, Callback::Committed);
        run.tally.ended(5, Ending::Failed("over the limit".into()));
        run.tally.told(5, Callback::Committed);
        assert_eq!(
            run.violations(),
            [
                "operation 3 ended 0 times, not once",
                "operation 4 was reported committed, and is not in the log",
                "operation 5 ended as Failed(\"over the limit\"), but its callbacks were told [Committed]",
            ]
        );
    }

    #[test]
    fn what_rose_from_the_dead_is_found() {
        let mut run = Run::sound();
        let operation =
            Operation::Transfer { number: 2, from: AccountId(0), to: AccountId(1), cents: 0 };
        run.replay.apply(PartitionId(0), TransactionId(1), &operation).unwrap();
        assert_eq!(run.violations(), ["operation 2 was reported as Ignored, and is in the log"]);
    }

    #[test]
    fn operations_that_nobody_submitted_are_found() {
        let mut run = Run::sound();
        let operation =
            Operation::Transfer { number: 8, from: AccountId(0), to: AccountId(1), cents: 0 };
        run.replay.apply(PartitionId(0), TransactionId(1), &operation).unwrap();
        assert_eq!(run.violations(), ["the log has 2 operations, of which 1 were submitted"]);
    }

    #[test]
    fn wrong_balances_and_statements_are_found() {
        let mut run = Run::sound();
        run.shared.insert(AccountId(1), 111);
        run.derived.remove(&AccountId(0));
        run.statements[1].balance = 112;
        assert_eq!(
            run.violations(),
            [
                "account 1 has Some(111) in the shared database and Some(110) by the log",
                "the shared database holds 201 cents, not 200",
                "account 0 has None in the derived database and Some(90) by the log",
                "the derived database holds 110 cents, not 100",
                "the statement of account 1 has balance 112 after operation 1, not 110",
            ]
        );
    }

    #[test]
    fn the_banks_own_column_is_the_judge() {
        let ledger = "date,transaction,account,amount_cents,balance_cents\n\
            1993-01-01,1,7,100,100\n1993-01-02,2,7,50,151\n1993-01-03,3,7,1,152\n";
        let ledger = Ledger::read(ledger.as_bytes()).unwrap();
        let (tally, mut replay) = (Tally::new(), Replay::new(0));
        for (id, row) in ledger.rows[..2].iter().enumerate() {
            let id = TransactionId(id as u64);
            tally.ended(row.transaction, Ending::Committed(id));
            tally.told(row.transaction, Callback::Committed);
            replay.apply(PartitionId(0), id, &row.operation()).unwrap();
        }
        let balances = replay.balances();
        let audit = Audit {
            tally: &tally,
            replay: &replay,
            shared: balances,
            derived: balances,
            statements: &[],
            opening_cents: 0,
            ledger: Some(&ledger),
        };
        let violations: Vec<_> = audit.violations().iter().map(Violation::to_string).collect();
        assert_eq!(
            violations,
            [
                "line 3: the bank has balance 151, the log yields Some(150)",
                "line 4: the bank has balance 152, the log yields None",
            ]
        );
    }
}
