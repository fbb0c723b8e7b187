//! Random damage and forgeries, each from a seed that repeats it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use waltz_core::time::Random;

use super::hostile;

/// Where the first seed comes from, to repeat a case.
const SEED: &str = "WALTZ_FUZZ_SEED";
/// How many cases, one seed after another.
const CASES: &str = "WALTZ_FUZZ_CASES";
const USUAL_CASES: u64 = 6000;
const LONGEST_BYTES: u64 = 300;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {value:?}")))
}

fn case(seed: u64) {
    let mut random = Random::new(seed);
    let length = random.bits() % LONGEST_BYTES;
    let input: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
    if catch_unwind(AssertUnwindSafe(|| hostile::check(&input))).is_err() {
        panic!("seed {seed} broke a promise: repeat it alone with {SEED}={seed} {CASES}=1");
    }
}

#[test]
fn damage_is_told_and_forgeries_end_in_an_orderly_way() {
    let first = variable(SEED).unwrap_or(0);
    (first..).take(variable(CASES).unwrap_or(USUAL_CASES) as usize).for_each(case);
}
