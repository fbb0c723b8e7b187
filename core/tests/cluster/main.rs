//! Whole nodes joined by a perfect network and perfect disks, in one thread: the shortest way
//! through everything.

mod appends;
mod measurements;
mod operations;
mod operators;
mod recordings;
mod rig;
