//! waltz-server
