//! Transcripts of requests and what comes of them, and random runs against a naive model.

mod bit_flips;
mod checkpoints;
mod damage;
mod model;
mod moving;
#[cfg(feature = "planted-bugs")]
mod planted;
mod quota;
mod random;
mod reading;
mod replay;
mod replay_from;
mod requests;
mod script;
mod scrub;
mod sessions;
