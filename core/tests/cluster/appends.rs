//! Appends, from a client's frame to a quorum and back.

use std::time::Duration;

use bytes::Bytes;
use waltz_core::id::{Mark, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::record::Run;
use waltz_core::wire::{AppendRefusal, ServerReply};

use crate::rig::{Mounted, Rig};

#[test]
fn a_record_computed_beyond_the_log_is_refused_for_good() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let (none, first) = (Mark::NONE, Mark::at(TransactionId(0)));
    let refusals = |heard: Vec<(ServerReply, Bytes)>| -> Vec<_> {
        let refused = heard.into_iter().filter_map(|(reply, _)| match reply {
            ServerReply::AppendRefused { first, last, reason, .. } => Some((first, last, reason)),
            _ => None,
        });
        refused.collect()
    };
    // The first of the frame is numbered and not committed: the second can't have seen it.
    let heard = client.append(&mut rig, 0, &[(none, 1), (first, 1)]);
    let ahead = |log| AppendRefusal::Ahead { computed_at: first, log };
    assert_eq!(refusals(heard), [(1, 1, ahead(none))]);
    let far = Mark::at(TransactionId(999));
    let heard = client.append(&mut rig, 2, &[(first, 1), (far, 1)]);
    let ahead = AppendRefusal::Ahead { computed_at: far, log: first };
    assert_eq!(refusals(heard), [(3, 3, ahead)]);
}

#[test]
fn an_append_goes_through_everything_and_comes_back_on_the_feed() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    let session = client.session;
    let none = Mark::NONE;
    let heard = client.append(&mut rig, 0, &[(none, 0), (none, 1), (none, 0)]);

    let mut fed = Vec::new();
    let mut conflicts = Vec::new();
    for (reply, payload) in heard {
        match reply {
            ServerReply::Feed { first, count, .. } => {
                let run = Run::verify(session, first, count, payload, &Limits::default()).unwrap();
                let records = run.records();
                fed.extend(records.map(|record| (record.id().0, record.req_id().sequence)));
            }
            ServerReply::Conflict { sequence, id, exact, .. } => {
                conflicts.push((sequence, id.0, exact));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(fed, [(0, 0), (1, 1)]);
    assert_eq!(conflicts, [(2, 0, true)], "the third wrote the first's lock without seeing it");

    rig.run(Duration::from_secs(1));
    for node in rig.nodes() {
        let (_, replica) = node.storage().replicas().next().unwrap();
        assert_eq!(replica.low_water(), Mark::at(TransactionId(1)), "the idle mark reaches all");
    }
}
