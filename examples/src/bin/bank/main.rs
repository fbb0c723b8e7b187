//! A bank: one service moves money between accounts, another one derives statements from the same
//! log, each with a PostgreSQL database of its own.
//!
//! Needs a node and two databases; `docs/guide.md` has the commands. It may be run again, and by
//! several people at once on the same databases.
#![expect(clippy::print_stdout, reason = "it shows what it did")]

mod accounts;
mod log;
mod statements;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use waltz_client::{Client, ClientConfig, Outcome};
use waltz_sql::sqlx::{self, PgPool, Postgres};
use waltz_sql::{SqlApply, SqlCallbacks};

use crate::accounts::{Accounts, Balance, Open, Transfer};
use crate::log::{Account, OPENING_CENTS, branch};
use crate::statements::Statements;

const BRANCHES: i64 = 4;
const ACCOUNTS_OF_A_BRANCH: i64 = 10;
/// How many transfers are under way at the same time.
const AT_ONCE: usize = 50;

/// Two services over one log: accounts and statements.
#[derive(Debug, Parser)]
struct Arguments {
    /// The address of any node
    #[arg(long, default_value = "127.0.0.1:7400")]
    node: String,
    /// The database of the accounts
    #[arg(long, default_value = "postgres://bank:bank@localhost/accounts")]
    accounts: String,
    /// The database of the statements
    #[arg(long, default_value = "postgres://bank:bank@localhost/statements")]
    statements: String,
    /// How many transfers to submit
    #[arg(long, default_value_t = 1000)]
    transfers: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let node = &arguments.node;
    let (teller, accounts) = start(node, &arguments.accounts, accounts::TABLE, Accounts).await?;
    let (printer, statements) =
        start(node, &arguments.statements, statements::TABLE, Statements).await?;

    open_accounts(&teller, &accounts).await?;
    transfer(&teller, &accounts, arguments.transfers).await?;

    // What the accounts are made of is in the statements once those have all that is committed now.
    let accounts = accounts::balances(&accounts).await?;
    printer.flush().await?;
    let lines = statements::balances(&statements).await?;
    teller.close().await;
    printer.close().await;
    show(&accounts);
    check(&accounts, &lines)
}

/// An instance of a service: its client keeps its database up to date from now on.
async fn start(
    node: &str,
    url: &str,
    table: &'static str,
    application: impl SqlApply<Postgres>,
) -> anyhow::Result<(Client, PgPool)> {
    let pool = PgPool::connect(url).await.with_context(|| format!("could not connect to {url}"))?;
    create(&pool, table).await?;
    let callbacks = SqlCallbacks::new(pool.clone(), application);
    callbacks.migrate().await?;
    let client = Client::connect(ClientConfig::new([node]), callbacks).await?;
    Ok((client, pool))
}

/// Makes a table, unless it is there. Instances take turns: PostgreSQL fails whoever makes a table
/// that another one is about to make.
async fn create(pool: &PgPool, table: &'static str) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *transaction).await?;
    sqlx::query(table).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn open_accounts(client: &Client, pool: &PgPool) -> anyhow::Result<()> {
    let accounts = (0..BRANCHES * ACCOUNTS_OF_A_BRANCH).map(nth_account);
    let opening: Vec<_> =
        accounts.map(|account| client.submit(Open { pool: pool.clone(), account })).collect();
    for submission in opening {
        match submission.await {
            Outcome::Committed(_) | Outcome::Ignored => {}
            other => bail!("an account could not be opened: {other:?}"),
        }
    }
    Ok(())
}

fn nth_account(n: i64) -> Account {
    n / ACCOUNTS_OF_A_BRANCH * 100 + n % ACCOUNTS_OF_A_BRANCH
}

/// The accounts of a branch pay in turn, each to another one in every round.
fn nth_transfer(n: i64, pool: &PgPool, conflicts: &Arc<AtomicU64>) -> Transfer {
    let (branch, turn) = (n % BRANCHES, n / BRANCHES);
    let (from, round) = (turn % ACCOUNTS_OF_A_BRANCH, turn / ACCOUNTS_OF_A_BRANCH);
    let to = (from + 1 + round % (ACCOUNTS_OF_A_BRANCH - 1)) % ACCOUNTS_OF_A_BRANCH;
    Transfer {
        pool: pool.clone(),
        from: nth_account(branch * ACCOUNTS_OF_A_BRANCH + from),
        to: nth_account(branch * ACCOUNTS_OF_A_BRANCH + to),
        cents: 100 + n * 997 % 5_000,
        conflicts: conflicts.clone(),
    }
}

async fn transfer(client: &Client, pool: &PgPool, transfers: u64) -> anyhow::Result<()> {
    let conflicts = Arc::new(AtomicU64::new(0));
    let (mut committed, mut declined) = (0, 0);
    let numbers: Vec<i64> = (0..i64::try_from(transfers)?).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let submissions: Vec<_> =
            numbers.iter().map(|n| client.submit(nth_transfer(*n, pool, &conflicts))).collect();
        for submission in submissions {
            match submission.await {
                Outcome::Committed(_) => committed += 1,
                Outcome::Ignored => declined += 1,
                other => bail!("a transfer ended otherwise: {other:?}"),
            }
        }
    }
    println!("transfers committed  {committed:>8}");
    println!("declined (overdraft) {declined:>8}");
    println!("conflicts met        {:>8}", conflicts.load(Ordering::Relaxed));
    Ok(())
}

fn show(accounts: &BTreeMap<Account, Balance>) {
    println!("\nbranch  accounts       cents");
    for of in 0..BRANCHES {
        let cents: Vec<i64> = accounts
            .iter()
            .filter(|(account, _)| branch(**account) == of)
            .map(|(_, balance)| balance.cents)
            .collect();
        println!("{of:>6}  {:>8}  {:>10}", cents.len(), cents.iter().sum::<i64>());
    }
}

/// Other instances may be at work on the same databases: only what holds all the time is demanded.
fn check(
    accounts: &BTreeMap<Account, Balance>,
    lines: &BTreeMap<(Account, i64), i64>,
) -> anyhow::Result<()> {
    let opened = i64::try_from(accounts.len())? * OPENING_CENTS;
    let sum: i64 = accounts.values().map(|balance| balance.cents).sum();
    ensure!(sum == opened, "{opened} cents were paid in, and there are {sum}");
    println!("\nok    money is conserved");
    for (account, Balance { cents, changed_by }) in accounts {
        ensure!(*cents >= 0, "account {account} is overdrawn: {cents}");
        let line = lines.get(&(*account, *changed_by));
        ensure!(
            line == Some(cents),
            "account {account} has {cents} cents by transaction {changed_by}; its statement: {line:?}"
        );
    }
    println!("ok    no account is overdrawn");
    println!("ok    statements and accounts agree");
    Ok(())
}
