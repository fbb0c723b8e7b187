//! Journals as bytes: what the format's versions left on disks, and what damage does to them.

mod damage;
mod files;
mod golden;
mod hostile;
mod sample;
