//! waltz-sim-tests
