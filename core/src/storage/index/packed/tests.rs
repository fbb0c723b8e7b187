//! Packed runs against a plain vector of them, and what they take.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Ids between the last run's first id and this one's, count and place.
    Push(u64, u32, Place),
    Truncate(usize),
    Trim(usize),
    Replace(usize, u32, Place),
}

fn places() -> impl Strategy<Value = Place> {
    let near = (0..3u32, 0..1000u32, 0..200u32);
    let any = (any::<u32>(), any::<u32>(), any::<u32>());
    prop_oneof![near, any].prop_map(|(segment, offset, length)| Place { segment, offset, length })
}

fn ops() -> impl Strategy<Value = Op> {
    let gaps = prop_oneof![4 => Just(1), 2 => 1..5u64, 1 => 1..1u64 << 40];
    let counts = prop_oneof![4 => Just(1), 2 => 0..5u32, 1 => any::<u32>()];
    prop_oneof![
        40 => (gaps, counts, places()).prop_map(|(gap, count, at)| Op::Push(gap, count, at)),
        1 => (0..400usize).prop_map(Op::Truncate),
        1 => (0..100usize).prop_map(Op::Trim),
        3 => (0..400usize, any::<u32>(), places()).prop_map(|(at, count, to)| Op::Replace(at, count, to)),
    ]
}

/// The first id of the run at a position, or of one that does not exist.
fn first(runs: &[StoredRun], at: usize) -> TransactionId {
    let after = runs.last().map_or(7, |run| run.first.0 + 1);
    runs.get(at).map_or(TransactionId(after), |run| run.first)
}

fn apply(op: &Op, packed: &mut PackedRuns, plain: &mut Vec<StoredRun>) {
    match *op {
        Op::Push(gap, count, place) => {
            let first = TransactionId(plain.last().map_or(3, |run| run.first.0) + gap);
            let run = StoredRun { first, count, place };
            packed.push_back(run);
            plain.push(run);
        }
        Op::Truncate(at) => {
            packed.truncate(first(plain, at));
            plain.truncate(at);
        }
        Op::Trim(at) => {
            packed.trim(first(plain, at));
            plain.drain(..at.min(plain.len().saturating_sub(1)));
        }
        Op::Replace(at, count, place) => {
            packed.replace(StoredRun { first: first(plain, at), count, place });
            if let Some(run) = plain.get_mut(at) {
                (run.count, run.place) = (count, place);
            }
        }
    }
}

proptest! {
    #[test]
    fn packed_runs_are_what_plain_ones_would_be(
        ops in prop::collection::vec(ops(), 0..500),
        sought in 0..500usize,
    ) {
        let (mut packed, mut plain) = (PackedRuns::default(), Vec::new());
        for op in &ops {
            apply(op, &mut packed, &mut plain);
            prop_assert_eq!(packed.back(), plain.last().copied());
        }
        prop_assert_eq!(packed.iter().collect::<Vec<_>>(), plain.clone());
        prop_assert_eq!(packed.front(), plain.first().copied());

        let id = first(&plain, sought);
        for id in [TransactionId(id.0 - 1), id, TransactionId(id.0 + 1)] {
            let begin = plain.partition_point(|run| run.first < id);
            prop_assert_eq!(packed.beginning_from(id).collect::<Vec<_>>(), &plain[begin..]);
            let near: Vec<_> = packed.near(id).collect();
            prop_assert!(plain.ends_with(&near));
            prop_assert!(near.first() == plain.first() || near[0].first <= id);
        }

        // Other blocks, and the same runs.
        prop_assert_eq!(&PackedRuns::from(plain.clone()), &packed);
        let bytes = postcard::to_extend(&packed, Vec::new()).unwrap();
        prop_assert_eq!(&bytes, &postcard::to_extend(&plain, Vec::new()).unwrap());
        prop_assert_eq!(postcard::from_bytes::<PackedRuns>(&bytes).unwrap(), packed);
    }
}

/// Memory a run of one record, of many; `bytes` has a body's length, and bodies of other logs lie
/// between.
fn bytes_a_run(bytes: impl Fn(u32) -> u32, between: u32) -> f64 {
    const RUNS: u32 = 100_000;
    let mut packed = PackedRuns::default();
    let mut at = Place { segment: 1, offset: 4096, length: 0 };
    for id in 0..RUNS {
        at = Place { offset: at.offset + at.length + between, length: bytes(id), ..at };
        if at.offset > 64 << 20 {
            at = Place { segment: at.segment + 1, offset: 4096, ..at };
        }
        packed.push_back(StoredRun { first: TransactionId(u64::from(id)), count: 1, place: at });
    }
    packed.memory_bytes() as f64 / f64::from(RUNS)
}

#[test]
fn a_run_of_one_record_takes_a_few_bytes() {
    let alone = bytes_a_run(|_| 100, 32);
    assert!(alone < 4.5, "{alone} bytes");
    let among_others = bytes_a_run(|_| 100, 100 * 132);
    assert!(among_others < 6.0, "{among_others} bytes");
    let of_many_lengths = bytes_a_run(|id| 100 + id * 7919 % 3000, 100 * 1600);
    assert!(of_many_lengths < 10.0, "{of_many_lengths} bytes");
}
