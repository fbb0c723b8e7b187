//! What tests of replicas share: a storage node over a journal in memory, and how to write down
//! what passes between it and its servers.

mod rig;

pub(crate) use crate::transcript::*;
pub(crate) use rig::*;
