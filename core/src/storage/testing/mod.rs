//! What tests and smaller simulations of replicas share: a storage node over a journal in memory.

mod names;
mod rig;
mod written;

pub(crate) use names::*;
pub(crate) use rig::*;
pub(crate) use written::*;
