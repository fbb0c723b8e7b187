//! The protocol, told as transcripts: each is a story, what was done, and all that came of it.
//!
//! After a change of the protocol, `cargo test -p waltz-core --lib rewrite -- --ignored` writes
//! down what comes of the commands now; what is different shows in the diff.

use super::script::{check, rewritten};

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(include_str!(concat!("transcripts/", stringify!($name), ".txt")));
            }
        )*

        #[test]
        #[ignore = "it writes into the sources"]
        #[expect(clippy::disallowed_methods, reason = "a tool, not a machine")]
        fn rewrite() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sequencer/tests/transcripts");
            for (name, transcript) in [
                $((stringify!($name), include_str!(concat!("transcripts/", stringify!($name), ".txt")))),*
            ] {
                let path = format!("{folder}/{name}.txt");
                std::fs::write(path, rewritten(transcript)).expect("the sources can be written");
            }
        }
    };
}

transcripts! {
    first_session
    only_after_sync
    late_replica
    divergence
    source_lost
    fenced
    fenced_loses
    resume
    slow_replica
    quorum_round
    restart
    idle_commit
    other_disk
    failed_read
    double_failover
    stale_completion
    duelling_servers
    hung_replica
    records_in_flight
    repeated_requests
    late_open
    adopted_twice
    moved_read
    round_across_a_reset
    full_window
    ahead_of_the_choice
    lost_vote
    join_lost_in_a_crash
    opened_too_late
    late_requests
    replaced
    learner_does_not_count
    replaced_while_learning
    replaced_half_added
    replaced_change_lost
    replaced_before_removal
    trimmed
    damage_found_beside_a_repair
    damage_repaired
    suspect
    recovered_by_force
    change_held_back
    learner_held_back
    left_behind
    overtaken
    old_server
    trimmed_later
    repaired_later
    trimmed_while_repaired
    full_disks
}
