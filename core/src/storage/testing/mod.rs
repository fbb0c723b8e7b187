//! What tests and smaller simulations of replicas share: a storage node over a journal in memory.

mod rig;

pub(crate) use rig::*;
