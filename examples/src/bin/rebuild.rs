//! A lost database, built again from the log.
//!
//! It appends meter readings and keeps what each meter has used in a SQLite file, deletes the file,
//! and starts again with an empty one: the log has everything from transaction 0 on. Needs a node:
//! `cargo run --release -p waltz-server -- serve`.
#![expect(clippy::print_stdout, reason = "it shows what it did")]

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};
use waltz_client::{
    AppendRequest, CallbackError, Client, ClientConfig, Json, Transaction, partition_of,
};
use waltz_sql::sqlx::sqlite::SqliteConnectOptions;
use waltz_sql::sqlx::{self, Sqlite, SqlitePool};
use waltz_sql::{Connection, SqlApply, SqlCallbacks};

const METERS: i64 = 8;

/// Loses a database and builds it again.
#[derive(Debug, Parser)]
struct Arguments {
    /// The address of any node
    #[arg(long, default_value = "127.0.0.1:7400")]
    node: String,
    /// The database, a file that will be deleted
    #[arg(long, default_value = "waltz-meters.db")]
    database: PathBuf,
    /// How many readings to append
    #[arg(long, default_value_t = 1000)]
    readings: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    meter: i64,
    kilowatt_hours: i64,
}

/// What the database has of each meter: readings and kilowatt-hours.
type Usage = Vec<(i64, i64, i64)>;

struct Meters;

impl SqlApply<Sqlite> for Meters {
    async fn apply(
        &self,
        transaction: &Transaction,
        connection: &mut Connection<'_, Sqlite>,
    ) -> Result<(), CallbackError> {
        let Reading { meter, kilowatt_hours } = transaction.data(&Json).await?;
        let add = sqlx::query(
            "INSERT INTO usage VALUES (?, 1, ?) ON CONFLICT (meter) DO UPDATE
             SET readings = readings + 1, kilowatt_hours = kilowatt_hours + excluded.kilowatt_hours",
        );
        connection.execute(add.bind(meter).bind(kilowatt_hours)).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { node, database, readings } = Arguments::parse();

    let (client, pool) = start(&node, &database).await?;
    append(&client, readings).await?;
    let before = usage(&client, &pool).await?;
    client.close().await;
    pool.close().await;

    delete(&database).with_context(|| format!("could not delete {}", database.display()))?;
    println!("deleted {}", database.display());

    let (client, pool) = start(&node, &database).await?;
    let after = usage(&client, &pool).await?;
    client.close().await;
    pool.close().await;

    println!("\nmeter  readings  kilowatt-hours");
    for (meter, readings, kilowatt_hours) in &after {
        println!("{meter:>5}  {readings:>8}  {kilowatt_hours:>14}");
    }
    ensure!(before == after, "the database was another one before: {before:?}");
    println!("\nthe database is the one that was deleted");
    Ok(())
}

async fn start(node: &str, database: &Path) -> anyhow::Result<(Client, SqlitePool)> {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS usage (meter INTEGER PRIMARY KEY,
         readings INTEGER NOT NULL, kilowatt_hours INTEGER NOT NULL)",
    )
    .execute(&pool)
    .await?;
    let callbacks = SqlCallbacks::new(pool.clone(), Meters);
    callbacks.migrate().await?;
    Ok((Client::connect(ClientConfig::new([node]), callbacks).await?, pool))
}

/// Readings depend on nothing that others may change: they need no locks.
async fn append(client: &Client, readings: i64) -> anyhow::Result<()> {
    let partitions = u32::try_from(client.cluster().await?.partitions.len())?;
    let mut appends = Vec::new();
    for n in 0..readings {
        let reading = Reading { meter: n % METERS, kilowatt_hours: 1 + n * n % 17 };
        let partition = partition_of(format!("meter/{}", reading.meter), partitions);
        let request = AppendRequest::new(serde_json::to_vec(&reading)?);
        appends.push(client.append(partition, request));
    }
    for append in appends {
        append.await?;
    }
    Ok(())
}

/// What is in the database once it has all that is committed by now.
async fn usage(client: &Client, pool: &SqlitePool) -> anyhow::Result<Usage> {
    client.flush().await?;
    let query = sqlx::query_as("SELECT meter, readings, kilowatt_hours FROM usage ORDER BY meter");
    Ok(query.fetch_all(pool).await?)
}

/// The file, and those that SQLite keeps beside it.
fn delete(database: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = OsString::from(database);
        path.push(suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
