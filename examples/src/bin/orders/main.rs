//! Orders and inventory: the second service lives on what the first one writes into the log, and
//! answers there. Each has a SQLite database of its own; neither calls the other.
//!
//! Needs a node: `cargo run --release -p waltz-server -- serve`. Run again it finds all orders placed.
#![expect(clippy::print_stdout, reason = "it shows what it did")]

mod inventory;
mod log;
mod orders;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use waltz_client::{Client, ClientConfig, Outcome};
use waltz_sql::sqlx::sqlite::SqliteConnectOptions;
use waltz_sql::sqlx::{self, Sqlite, SqlitePool};
use waltz_sql::{SqlApply, SqlCallbacks};

use crate::inventory::Inventory;
use crate::log::Order;
use crate::orders::{Orders, Place, Total};

const ITEMS: i64 = 5;

/// Orders, and an inventory that is derived from them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The address of any node
    #[arg(long, default_value = "127.0.0.1:7400")]
    node: String,
    /// Where the databases are kept
    #[arg(long, default_value = "waltz-orders")]
    directory: PathBuf,
    /// How many orders to place
    #[arg(long, default_value_t = 100)]
    orders: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { node, directory, orders } = Arguments::parse();
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("could not make {}", directory.display()))?;
    let shop_database = directory.join("orders.db");
    let (shop, shop_pool) = start(&node, &shop_database, orders::TABLES, Orders).await?;
    let warehouse_database = directory.join("inventory.db");
    let (warehouse, warehouse_pool) =
        start(&node, &warehouse_database, inventory::TABLES, Inventory).await?;

    place(&shop, &shop_pool, orders).await?;
    inventory::settle_all(&warehouse, &warehouse_pool).await?;

    shop.flush().await?;
    let totals = orders::totals(&shop_pool).await?;
    shop.close().await;
    warehouse.close().await;
    check(&totals, &warehouse_pool).await
}

/// An instance of a service: its client keeps its database up to date from now on.
async fn start(
    node: &str,
    database: &Path,
    tables: &'static [&'static str],
    application: impl SqlApply<Sqlite>,
) -> anyhow::Result<(Client, SqlitePool)> {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    for table in tables {
        sqlx::query(*table).execute(&pool).await?;
    }
    let callbacks = SqlCallbacks::new(pool.clone(), application);
    callbacks.migrate().await?;
    Ok((Client::connect(ClientConfig::new([node]), callbacks).await?, pool))
}

async fn place(client: &Client, pool: &SqlitePool, orders: i64) -> anyhow::Result<()> {
    let submissions: Vec<_> = (0..orders)
        .map(|number| Order { number, item: number % ITEMS, quantity: 1 + number % 4 })
        .map(|order| client.submit(Place { pool: pool.clone(), order }))
        .collect();
    let (mut placed, mut known) = (0, 0);
    for submission in submissions {
        match submission.await {
            Outcome::Committed(_) => placed += 1,
            Outcome::Ignored => known += 1,
            other => bail!("an order could not be placed: {other:?}"),
        }
    }
    println!("orders placed        {placed:>6}");
    println!("placed before        {known:>6}");
    Ok(())
}

/// What the orders say was shipped is what the inventory lacks.
async fn check(totals: &[Total], warehouse: &SqlitePool) -> anyhow::Result<()> {
    let mut shipped: BTreeMap<i64, i64> = BTreeMap::new();
    println!("\nitem     state  orders  pieces");
    for Total { item, state, orders, pieces } in totals {
        println!("{item:>4}  {state:>8}  {orders:>6}  {pieces:>6}");
        ensure!(state != "placed", "{orders} orders of item {item} were not settled");
        let pieces = if state == "shipped" { *pieces } else { 0 };
        *shipped.entry(*item).or_default() += pieces;
    }
    for (item, shipped) in shipped {
        let left = inventory::left(warehouse, item).await?;
        ensure!(left >= 0, "more of item {item} was shipped than there was");
        let expected = inventory::OPENING_STOCK - shipped;
        ensure!(left == expected, "{left} of item {item} are left, not {expected}");
    }
    println!("\nok    every order is shipped or rejected");
    println!("ok    orders and inventory agree");
    Ok(())
}
