//! A small journal, damaged or forged as the fuzzer tells: `cargo +nightly fuzz run journal`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../runtime/tests/journal/files.rs"]
#[expect(dead_code, reason = "other tests read directories")]
mod files;
#[path = "../../runtime/tests/journal/hostile/mod.rs"]
mod hostile;
#[path = "../../runtime/tests/journal/sample.rs"]
mod sample;

fuzz_target!(|input: &[u8]| hostile::check(input));
