//! Who is measured, and how.

use std::io;
use std::time::Duration;

/// What one operation took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) time: Duration,
    /// Of payload.
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

/// Something that makes bytes durable.
pub(crate) trait Contender {
    fn name(&self) -> &str;

    /// One operation; what prepares and clears up for it takes no time.
    fn operate(&mut self) -> io::Result<Taken>;
}

/// What a contender needed for an operation.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) time: Duration,
    /// Of payload, in a second.
    pub(crate) bytes_a_second: f64,
    pub(crate) syncs: f64,
    /// How long it took for the same payload, against the first contender in the same turn.
    pub(crate) ratio: f64,
}

/// Has everyone do so many operations in each of so many turns.
pub(crate) fn compare(
    mut contenders: Vec<Box<dyn Contender>>,
    turns: usize,
    operations: u32,
) -> io::Result<Vec<Row>> {
    let mut taken = vec![Vec::with_capacity(turns); contenders.len()];
    for turn in 0..=turns {
        for (contender, taken) in contenders.iter_mut().zip(&mut taken) {
            let sum = turn_of(contender.as_mut(), operations)?;
            // The first turn warms up.
            if turn > 0 {
                taken.push(sum);
            }
        }
    }
    let first = taken[0].clone();
    let row = |name: &str, taken: &[Taken]| {
        let ratios = taken.iter().zip(&first).map(|(one, first)| cost(one) / cost(first));
        let time = median(taken.iter().map(|one| one.time.as_secs_f64()));
        let operations = f64::from(operations);
        Row {
            name: name.to_owned(),
            time: Duration::from_secs_f64(time / operations),
            bytes_a_second: median(taken.iter().map(|one| cost(one).recip())),
            syncs: median(taken.iter().map(|one| one.syncs as f64)) / operations,
            ratio: median(ratios),
        }
    };
    Ok(contenders.iter().zip(&taken).map(|(one, taken)| row(one.name(), taken)).collect())
}

fn turn_of(contender: &mut dyn Contender, operations: u32) -> io::Result<Taken> {
    let mut sum = Taken::default();
    for _ in 0..operations {
        let taken = contender.operate()?;
        sum.time += taken.time;
        sum.bytes += taken.bytes;
        sum.syncs += taken.syncs;
    }
    Ok(sum)
}

/// Seconds a byte.
fn cost(taken: &Taken) -> f64 {
    taken.time.as_secs_f64() / taken.bytes as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
