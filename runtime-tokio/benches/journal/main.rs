//! How fast a journal is on real files, against the bare minimum that its disk takes, and which way
//! of writing is the fastest: `cargo bench -p waltz-runtime-tokio --bench journal`.
//!
//! What is compared takes turns, a few operations at a time, and ratios are taken of each turn and
//! then their median: a disk that others use, too, is slow for everyone for a while.
//!
//! The ways of writing are implementations of [`waltz_runtime::disk::Disk`]: all that a journal
//! knows of files.

mod bare;
mod contender;
mod counted;
mod direct;
mod log;
mod nowhere;
mod table;
#[cfg(target_os = "linux")]
mod uring;

use std::io::{self, Write};
use std::path::Path;

use waltz_runtime_tokio::FileDisk;

use bare::Bare;
use contender::{Contender, compare};
use direct::{DirectDisk, Durability};
use log::{Load, Log};
use nowhere::Nowhere;
use table::print;

/// Where to measure; else below cargo's target directory.
const DIRECTORY: &str = "WALTZ_BENCH_DIRECTORY";
const BLOCK_BYTES: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// Just below what a batch may have: what is in an entry, its bytes, and how many entries. Servers
/// replicate small records in runs, and a run is an entry.
const BATCHES: [(&str, usize, u64); 4] = [
    ("a record of 100 B each", 100, 4096),
    ("runs of 100 records of 100 B", 10_000, 410),
    ("runs of 16 records of 1 KiB", 16 << 10, 253),
    ("a record of 64 KiB each", 64 << 10, 63),
];

fn main() -> io::Result<()> {
    let directory = std::env::var_os(DIRECTORY);
    let base = directory.as_deref().map_or(Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new);
    std::fs::create_dir_all(base)?;
    let mut out = io::stdout().lock();
    writeln!(out, "on {}", base.display())?;
    let load = Load { entries: 1, body_bytes: 100, partitions: 1 };
    let bare = Bare::contender(base, BLOCK_BYTES, 100)?;
    let rows = compare(contenders(bare, base, load)?, 60, 20)?;
    print(&mut out, "one append of 100 B at a time", &rows)?;
    for (name, body_bytes, entries) in BATCHES {
        let load = Load { entries, body_bytes, partitions: 1 };
        let bare = Bare::contender(base, BATCH_BYTES, BATCH_BYTES as u64)?;
        let rows = compare(contenders(bare, base, load)?, 25, 6)?;
        print(&mut out, &format!("batches of {entries} entries: {name}"), &rows)?;
    }
    let of = |partitions| -> io::Result<Box<dyn Contender>> {
        let load = Load { entries: 1000, body_bytes: 100, partitions };
        let name = format!("{partitions} partitions");
        Ok(Box::new(Log::begin(&name, base, load, FileDisk::clone)?))
    };
    let rows = compare(vec![of(1)?, of(1000)?], 40, 10)?;
    print(&mut out, "batches of 1000 entries of 100 B", &rows)
}

/// The bare minimum, and a journal in every way.
fn contenders(
    bare: Box<dyn Contender>,
    base: &Path,
    load: Load,
) -> io::Result<Vec<Box<dyn Contender>>> {
    let direct = |durability| move |disk: &FileDisk| DirectDisk::new(disk.clone(), durability);
    let mut contenders = vec![
        bare,
        Box::new(Log::begin("buffered, fdatasync", base, load, FileDisk::clone)?),
        Box::new(Log::begin("O_DIRECT, fdatasync", base, load, direct(Durability::Sync))?),
        Box::new(Log::begin("O_DIRECT, O_DSYNC", base, load, direct(Durability::EachWrite))?),
    ];
    #[cfg(target_os = "linux")]
    match uring::UringDisk::is_there() {
        true => {
            let linked = |disk: &FileDisk| uring::UringDisk::new(disk.clone());
            contenders.push(Box::new(Log::begin("io_uring, linked", base, load, linked)?));
        }
        false => writeln!(io::stderr(), "this kernel has no io_uring, or forbids it")?,
    }
    contenders.push(Box::new(Log::begin("no disk", base, load, |_| Nowhere::default())?));
    Ok(contenders)
}
