//! The same promises on PostgreSQL, MariaDB and SQLite, each a real one.

mod crash;
mod end_to_end;
mod ledger;
mod node;
mod parallel;
mod proxy;
mod suite;
mod support;

/// Runs each test on every database.
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<sqlx::Postgres>().await;
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<sqlx::MySql>().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<sqlx::Sqlite>().await;
            })*
        }
    };
}
pub(crate) use on_every_database;
