//! waltz-client
