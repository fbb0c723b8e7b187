//! What flight recorders keep of whole clusters leads to the same effects and states again.

use std::time::Duration;

use waltz_core::recorder::Played;

use crate::operators::{run_until_settled, set_replicas, trim};
use crate::rig::{Mounted, Rig};

/// Replays every node's recording; returns the numbers of their first inputs.
fn assert_all_replay(rig: &Rig) -> Vec<u64> {
    let firsts = rig.recordings().map(|(node, recording)| {
        let (first, inputs) = (recording.first(), recording.len());
        assert!(inputs > 100, "{inputs} inputs");
        let mut replay = recording.replay();
        let differences: Vec<_> = replay.by_ref().filter(Played::differs).collect();
        assert_eq!(differences, []);
        assert_eq!(replay.node(), node);
        first
    });
    firsts.collect()
}

#[test]
fn what_was_recorded_of_each_node_leads_to_the_same_effects_and_state() {
    let mut rig = Rig::new(3);
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 20);
    assert_eq!(assert_all_replay(&rig), [0, 0, 0], "from their start");
}

#[test]
fn a_recorder_that_dropped_its_oldest_inputs_goes_on_from_a_state() {
    let mut rig = Rig::with(4, 3, |_| {});
    let client = Mounted::new(&mut rig);
    client.grow(&mut rig, 0, 1_000);
    assert_eq!(rig.operate(0, set_replicas(&[1, 2, 4])), Ok(()));
    client.grow(&mut rig, 1_000, 1_000);
    run_until_settled(&mut rig, &[1, 2, 4]);
    assert_eq!(rig.operate(0, trim(500)), Ok(()));
    client.grow(&mut rig, 2_000, 1_000);
    rig.run(Duration::from_secs(60));
    let firsts = assert_all_replay(&rig);
    assert!(firsts.iter().all(|first| *first > 0), "{firsts:?}");
}
