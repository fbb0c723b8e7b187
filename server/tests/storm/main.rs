//! A storm over everything real: three nodes, a database server, and two instances of a service that
//! share the database, all killed at random while the instances submit. Then every transaction of
//! the log must have been applied exactly once, in order, and everything that was told to be
//! committed must be there.
//!
//! `cargo test` runs a short one on each database. A long one:
//! `cargo test --release -p waltz-server --test storm -- --database postgres --transactions 1000000`

mod instance;
mod kills;
mod ledger;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use sqlx::{MySqlPool, PgPool, SqlitePool};
use waltz_databases::{Kind, Server};
use waltz_server::cluster::{ClusterPlan, LocalCluster};
use waltz_sql::sqlx;

use instance::InstanceArgs;
use kills::{Instances, Storm};
use ledger::{Book, PARTITIONS};

/// The program under test.
const WALTZ: &str = env!("CARGO_BIN_EXE_waltz");
/// How often it is looked how far the storm is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Which database; all of them without it.
    #[arg(long)]
    database: Option<Database>,
    /// How many transactions have to be committed on each.
    #[arg(long, default_value_t = 2000)]
    transactions: i64,
    /// What the kills follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long it is between two kills, on average, in milliseconds.
    #[arg(long, default_value_t = 600)]
    kill_every: u64,
    /// Only if this test's name has these letters, as with other tests.
    filter: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// What the driver starts.
    Instance(InstanceArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Postgres,
    Mariadb,
    Sqlite,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    waltz_server::logging::start("warn");
    if let Some(Role::Instance(instance)) = &arguments.role {
        return instance::run(instance);
    }
    if arguments.filter.as_deref().is_some_and(|filter| !"storm".contains(filter)) {
        return Ok(ExitCode::SUCCESS);
    }
    let all = [Database::Postgres, Database::Mariadb, Database::Sqlite];
    let databases = arguments.database.map_or(all.to_vec(), |database| vec![database]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for database in databases {
        let run = runtime.block_on(run(database, &arguments));
        run.with_context(|| format!("{database:?}, seed {}", arguments.seed))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(database: Database, arguments: &Arguments) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let server = match database {
        Database::Postgres => Some(Server::start(Kind::Postgres)?),
        Database::Mariadb => Some(Server::start(Kind::MariaDb)?),
        Database::Sqlite => None,
    };
    let url = match &server {
        Some(server) => server.create_database("storm")?,
        None => format!("sqlite:{}?mode=rwc", directory.path().join("storm.db").display()),
    };
    let plan = ClusterPlan { partitions: PARTITIONS, ..ClusterPlan::new(WALTZ, directory.path()) };
    let cluster = LocalCluster::start(&plan).await?;
    let instances = Instances::new(directory.path(), &url, &cluster.addresses())?;
    let storm = Storm::new(cluster, instances, server, arguments);
    match database {
        Database::Postgres => weather(storm, PgPool::connect_lazy(&url)?, directory.path()).await,
        Database::Mariadb => weather(storm, MySqlPool::connect_lazy(&url)?, directory.path()).await,
        Database::Sqlite => weather(storm, SqlitePool::connect_lazy(&url)?, directory.path()).await,
    }
    .with_context(|| format!("on {database:?}"))
}

/// Runs the storm until enough is committed, lets everything come to rest, and verifies.
async fn weather<B: Book>(mut storm: Storm<'_>, book: B, directory: &Path) -> anyhow::Result<()> {
    book.create().await?;
    let (began, wanted) = (Instant::now(), storm.arguments.transactions);
    storm.instances.start_all()?;
    // A database that was just killed can't be asked.
    while !storm.is_over() || book.total().await.unwrap_or(0) < wanted {
        storm.strike().await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed();
    storm.instances.finish().await?;
    let applied = verify::check(&book, &storm.cluster.addresses(), directory).await?;
    let database = <B::Database as sqlx::Database>::NAME;
    if applied < wanted {
        bail!("{applied} transactions were applied of {wanted}");
    }
    let (seconds, kills) = (took.as_secs_f64(), storm.kills());
    let rate = applied as f64 / seconds;
    #[expect(clippy::print_stdout, reason = "tests without a harness say themselves how they went")]
    {
        println!(
            "{database}: {applied} transactions applied once and in order in {seconds:.1} s, {rate:.0}/s; kills: {kills}"
        );
    }
    storm.cluster.stop(Duration::from_secs(10)).await?;
    Ok(())
}
