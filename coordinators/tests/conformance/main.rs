//! Every coordinator passes the same scenarios.

mod etcd;
mod faults;
mod memory;
mod node;
mod proxy;
mod secured;
mod zookeeper;

use waltz_coordinators::conformance::{self, Subject};

async fn pass(subject: &mut impl Subject) {
    let mut begun = Vec::new();
    conformance::run(subject, |scenario| begun.push(scenario.to_owned())).await;
    assert_eq!(begun.len(), 15, "all of them ran: {begun:?}");
}
