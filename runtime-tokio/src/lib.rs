//! waltz-runtime-tokio
