//! A bank on Waltz.
//!
//! The log is the bank's source of truth; every service rebuilds balances from it into SQLite.
//! Transfers take write locks on their two accounts, so two services never spend the same money.
//! The crate knows no runtime and no process: the demo drives it over real nodes, the simulation
//! over simulated ones, and both use the same checks.
//!
//! It owns what the transactions say ([`Operation`]), the database that callbacks fold them into
//! ([`Database`]), the service instances ([`Service`]), the plan of what to submit ([`Ledger`], [`Transfers`]) and the verdict
//! ([`Tally`], [`Replay`], [`Audit`]).

mod account;
mod audit;
mod database;
mod ledger;
mod operation;
mod reader;
mod replay;
mod service;
mod tally;
mod transfers;

pub use account::AccountId;
pub use audit::{Audit, Violation};
pub use database::{Database, DatabaseError, Projection, Statement};
pub use ledger::{Ledger, LedgerError, Row};
pub use operation::{Operation, OperationError, Posting};
pub use reader::ReadError;
pub use replay::{Replay, ReplayError};
pub use service::{Ended, Job, Jobs, Service};
pub use tally::{Callback, Ending, Fate, Tally, Totals};
pub use transfers::Transfers;
