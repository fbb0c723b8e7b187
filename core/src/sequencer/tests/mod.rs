//! Sessions against real replicas: scenarios as transcripts, and rot in every record. Random runs
//! of the same cluster are in [`crate::explorer`].

mod rot;
mod scenarios;
mod script;
