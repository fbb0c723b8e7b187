//! The program as people meet it: real processes, real files, real signals.

mod admin;
mod archive;
mod archive_follow;
mod archive_s3;
mod backup;
mod bad_input;
mod commands;
mod config;
mod crash;
mod day;
mod demo;
mod disk;
mod failover;
mod full_disk;
mod health;
mod load;
mod many;
mod quota;
mod recording;
mod replicas;
mod secured_coordinator;
mod security;
mod support;
