//! What people type, as values.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use waltz_coordinators::{AddressError, CoordinatorAddress};
use waltz_core::id::{Mark, TransactionId};
use waltz_core::lock::LockId;
use waltz_core::wire::Version;

use crate::commands::{
    admin, append, archive, backup, bench, config, consumer, demo, disk, feed, replay, serve,
    status, token,
};

/// A quorum-replicated, partitioned write-ahead log with optimistic locking.
#[derive(Debug, Parser)]
#[command(name = "waltz", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The program's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node; with no flags a complete single node on loopback
    Serve(serve::ServeArgs),
    /// Write, check and show a node's configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Append transactions
    Append(append::AppendArgs),
    /// Read a partition's log
    Feed(feed::FeedArgs),
    /// Show partitions, their servers and their replicas
    Status(status::StatusArgs),
    /// Look after a cluster: its nodes, partitions and replicas
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Register a consumer of a partition, or remove it
    #[command(subcommand)]
    Consumer(consumer::ConsumerCommand),
    /// Keep a partition's log in a file, and bring it back
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Keep history in an archive, and look at it
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Look at the disk of a node that does not run
    #[command(subcommand)]
    Disk(disk::DiskCommand),
    /// Make a token for a client, and the line that nodes know it by
    Token(token::TokenArgs),
    /// Run a node's recording through the same machine, step by step
    Replay(replay::ReplayArgs),
    /// Watch a cluster of real processes at work while its nodes are killed
    #[command(subcommand)]
    Demo(demo::DemoCommand),
    /// Measure a cluster
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// How to reach a cluster.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The address of any node; may be given more than once
    #[arg(
        long,
        value_name = "ADDR",
        env = "WALTZ_SERVER",
        value_delimiter = ',',
        value_parser = parse_address,
        default_value = "127.0.0.1:7400"
    )]
    pub server: Vec<String>,

    /// Refuse nodes of any other cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,

    /// Secure connections, and take nodes only with a certificate of one of these authorities
    #[arg(long, value_name = "FILE", env = "WALTZ_TLS_CA")]
    pub tls_ca: Option<PathBuf>,

    /// Present this certificate to nodes
    #[arg(long, value_name = "FILE", env = "WALTZ_TLS_CERT", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key
    #[arg(long, value_name = "FILE", env = "WALTZ_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Present the token in this file to nodes
    #[arg(long = "token-file", value_name = "FILE", env = "WALTZ_TOKEN_FILE",
        value_parser = read_token)]
    pub token: Option<TokenFile>,

    /// How long to look for a node that answers
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Print JSON, one value a line
    #[arg(long)]
    pub json: bool,
}

/// What is in a file with a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenFile(pub String);

impl std::fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenFile(not shown)")
    }
}

/// Reads the token in a file.
///
/// # Errors
/// When the file can't be read, or has none.
pub fn read_token(path: &str) -> Result<TokenFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    match text.trim() {
        "" => Err("the file is empty; `waltz token` makes a token".to_owned()),
        token => Ok(TokenFile(token.to_owned())),
    }
}

/// A lock as people write it, `NAME:ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockName {
    /// The name.
    pub name: String,
    /// The number.
    pub number: u64,
}

impl LockName {
    /// Its id in the log.
    pub fn id(&self) -> LockId {
        LockId::new(&self.name, self.number)
    }
}

impl std::fmt::Display for LockName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.number)
    }
}

impl FromStr for LockName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text
            .rsplit_once(':')
            .filter(|(name, _)| !name.is_empty())
            .ok_or("write a lock as NAME:ID, such as account:17")?;
        let number =
            number.parse().map_err(|_| format!("{number:?} is no lock number; use 0 or more"))?;
        Ok(Self { name: name.to_owned(), number })
    }
}

/// Reads a mark: the id that was seen last, or `none`.
///
/// # Errors
/// When it is neither.
pub fn parse_mark(text: &str) -> Result<Mark, String> {
    if text == "none" {
        return Ok(Mark::NONE);
    }
    match text.parse() {
        Ok(u64::MAX) | Err(_) => Err("write a transaction id, or `none`".into()),
        Ok(id) => Ok(Mark::at(TransactionId(id))),
    }
}

/// Reads a version of the protocol that this program speaks.
///
/// # Errors
/// When it is no number, or one of another version.
pub fn parse_protocol_version(text: &str) -> Result<Version, String> {
    let number: u16 = text.parse().map_err(|_| "write a number".to_owned())?;
    Version::try_from(number).map_err(|error| error.to_string())
}

/// Reads where a node listens: a host name or an IP address, and a port.
///
/// # Errors
/// When it is no such address.
pub fn parse_address(text: &str) -> Result<String, String> {
    let has_port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    match text.rsplit_once(':').is_some_and(has_port) {
        true => Ok(text.to_owned()),
        false => Err("write an address as HOST:PORT, such as 127.0.0.1:7400".into()),
    }
}

/// Where a node finds its coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coordinator {
    /// On the node that listens there.
    Node(String),
    /// Outside of the cluster.
    Outside(CoordinatorAddress),
}

/// Reads where a coordinator is: `HOST:PORT` of a node, or the address of one outside.
///
/// # Errors
/// When it is neither.
pub fn parse_coordinator(text: &str) -> Result<Coordinator, String> {
    if text.contains("://") {
        return text
            .parse()
            .map(Coordinator::Outside)
            .map_err(|error: AddressError| error.to_string());
    }
    parse_address(text).map(Coordinator::Node)
}

/// Reads a time such as `3s`, `1.5s`, `200ms` or `2m`; a bare number is in seconds.
///
/// # Errors
/// When it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{unit:?} is no unit of time; use ms, s, m, h or d")),
    };
    let number: f64 = number.parse().map_err(|_| "write a time such as 3s or 500ms".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// Reads a number of bytes such as `1500`, `64M` or `10G`; the units are powers of 1024.
///
/// # Errors
/// When it is none.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(format!("{unit:?} is no unit of bytes; use K, M, G or T")),
    };
    let number: u64 = number.parse().map_err(|_| "write bytes such as 1500 or 64M".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too many bytes".to_owned())
}

/// Where the benchmarks and the demo put their data unless told: on the current directory's file
/// system, because a temporary one may be in memory.
pub fn working_directory(given: Option<&PathBuf>) -> std::io::Result<tempfile::TempDir> {
    let parent = given.cloned().unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&parent)?;
    tempfile::Builder::new().prefix("waltz-").tempdir_in(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_units() {
        for (text, ms) in [
            ("3s", 3_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("4", 4_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "3x", "-1s", "3 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_read_with_their_units() {
        for (text, bytes) in [("0", 0), ("1500", 1500), ("64M", 64 << 20), ("2T", 2 << 40)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "3x", "-1", "99999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn locks_are_a_name_and_a_number() {
        let lock: LockName = "a:b:7".parse().unwrap();
        assert_eq!((lock.name.as_str(), lock.number), ("a:b", 7));
        assert_eq!(lock.to_string(), "a:b:7");
        for text in ["", "a", ":1", "a:", "a:-1", "a:x"] {
            assert!(text.parse::<LockName>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        for text in ["127.0.0.1:7400", "node-1:0", "[::1]:7400"] {
            assert_eq!(parse_address(text), Ok(text.to_owned()));
        }
        for text in ["", "localhost", ":7400", "localhost:", "localhost:70000"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn marks_are_an_id_or_none() {
        assert_eq!(parse_mark("none"), Ok(Mark::NONE));
        assert_eq!(parse_mark("0"), Ok(Mark::at(TransactionId(0))));
        assert!(parse_mark("18446744073709551615").is_err());
        assert!(parse_mark("-1").is_err());
    }
}
