//! What tests of replicas share: a storage node over a journal in memory, and how to write down
//! what passes between it and its servers.

mod rig;
mod text;

pub(crate) use rig::*;
pub(crate) use text::*;
