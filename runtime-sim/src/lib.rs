//! waltz-runtime-sim
