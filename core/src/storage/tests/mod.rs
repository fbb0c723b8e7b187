//! Transcripts of requests and what comes of them, and random runs against a naive model.

mod random;
mod reading;
mod replay;
mod requests;
mod script;
mod sessions;
