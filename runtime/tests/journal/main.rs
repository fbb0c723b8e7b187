//! Journals as bytes: what the format's versions left on disks, and what damage does to them.

mod files;
mod golden;
mod sample;
