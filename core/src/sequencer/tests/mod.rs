//! Sessions against real replicas: scenarios as transcripts, and random runs whose every step is
//! checked against what was ever promised.

mod cluster;
mod explorer;
mod oracle;
mod rot;
mod scenarios;
mod script;
