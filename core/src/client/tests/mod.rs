//! Each rule of the client, against a scripted server: what goes in, and what comes out in words.

mod appends;
mod cancelling;
mod connections;
mod doubts;
mod feeding;
mod mounting;
mod questions;
mod rig;
mod twins;
