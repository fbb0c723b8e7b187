//! What each broken rule changes at one replica.

use super::script::check_planted;
use crate::planted::{Planted, PlantedBug};

fn check(bug: PlantedBug, transcript: &str) {
    check_planted(Planted::bug(bug), transcript);
}

#[test]
fn acknowledging_before_the_sync_shows() {
    check(
        PlantedBug::AcknowledgeBeforeSync,
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..2 committed none
           journal records 0..2 of s1, low water none
           -> s1 acked 2",
    );
}

#[test]
fn promising_before_the_sync_shows() {
    check(
        PlantedBug::PromiseBeforeSync,
        "> s1 open
           journal create
           journal promise s1
           -> s1 opened: normal none, log nothing, low water none",
    );
}

#[test]
fn joining_before_the_sync_shows() {
    check(
        PlantedBug::JoinBeforeSync,
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
           -> s1 joined
         > sync
           -> s1 opened: normal none, log nothing, low water none
           -> s1 adopted, last none",
    );
}

#[test]
fn skipping_the_promise_check_shows() {
    check(
        PlantedBug::SkipPromiseCheck,
        "> s1 begins
         > s2 open
           journal promise s2
         > s1 append 0..2 committed none
           journal records 0..2 of s1, low water none
         > s1 confirm 1
           -> s1 confirmed 1
         > sync
           -> s2 opened: normal s1, log nothing, low water none
           -> s1 acked 2",
    );
}

/// What was on its way when the higher session was opened is acknowledged, and not told of.
#[test]
fn opening_before_what_is_in_flight_shows() {
    check(
        PlantedBug::OpenBeforeInFlight,
        "> s1 begins with 0..1 committed none
         > s1 append 2..3 committed none
           journal records 2..3 of s1, low water none
         > s2 open
           journal promise s2
         > sync
           -> s1 acked 3
           -> s2 opened: normal s1, log s1@0 to 1, low water none",
    );
}

/// The lower session's acknowledgement counts for the higher one, which has not as much there.
#[test]
fn a_stale_completion_shows() {
    check(
        PlantedBug::StaleCompletion,
        "> s1 begins
         > s1 append 0..1 committed none
           journal records 0..1 of s1, low water none
         > s2 open
           journal promise s2
         > s2 adopt nothing
           journal cut to none
         > sync
           -> s2 opened: normal s1, log s1@0 to 1, low water none
           -> s2 adopted, last none
         > s2 join none
           journal join s2
         > s2 append 0..0 committed none
           journal records 0..0 of s2, low water none
         > sync
           -> s2 acked 1
           -> s2 joined
           -> s2 acked 0",
    );
}

#[test]
fn keeping_a_longer_tail_shows() {
    check(
        PlantedBug::KeepLongerTail,
        "> s1 begins with 0..4 committed none
         > s2 open
           journal promise s2
         > s2 adopt s1@0 to 2
         > s2 join 2
           journal join s2
         > sync
           -> s2 opened: normal s1, log s1@0 to 4, low water none
           -> s2 adopted, last 2
           -> s2 joined",
    );
}

#[test]
fn cutting_to_the_low_water_mark_shows() {
    check(
        PlantedBug::CutToLowWater,
        "> s1 begins with 0..4 committed 1
         > s2 open
           journal promise s2
         > s2 adopt s1@0 to 4
           journal cut to 1
         > sync
           -> s2 opened: normal s1, log s1@0 to 4, low water 1
           -> s2 adopted, last 1",
    );
}

#[test]
fn joining_anywhere_shows() {
    check(
        PlantedBug::JoinAnywhere,
        "> s2 open
           journal create
           journal promise s2
         > s2 adopt s1@0 to 4
         > s2 join 4
           journal join s2
         > sync
           -> s2 opened: normal none, log nothing, low water none
           -> s2 adopted, last 4
           -> s2 joined",
    );
}

#[test]
fn copying_as_own_shows() {
    check(
        PlantedBug::CopyAsOwn,
        "> s2 open
           journal create
           journal promise s2
         > s2 adopt s1@0 to 1
         > s2 copy s1 0..1
           journal records 0..1 of s2, low water none
         > s2 join 1
           journal join s2
         > s3 open
           journal promise s3
         > sync
           -> s2 fenced by s3
           -> s3 opened: normal s2, log s2@0 to 1, low water none",
    );
}

#[test]
fn a_suspect_that_votes_shows() {
    check(
        PlantedBug::SuspectVotes,
        "> s1 begins with 0..2 3..4 committed 2
         > lose 4
           report Error: the journal lost entries, and nobody can tell which: the replicas of this node are suspect; they only give the records that they still have; replace them by replicas on other disks
         > s2 open
           journal promise s2
         > sync
           -> s2 opened: normal s1, log s1@0 to 2, low water 2",
    );
}

/// Records of session 2 are taken for those of session 1.
#[test]
fn a_repair_that_is_not_checked_shows() {
    check(
        PlantedBug::RepairUnchecked,
        "> s1 begins with 0..2 committed none
         > s1 read 0..2 max 10000
         > fail read
           report Error: the run of 3 records from 0 (segment 1, offset 3000) is damaged: they can't be read: input/output error; 0..=2 can't be read here
           -> s1 can't read 0..2
           -> s1 read failed: they can't be read: input/output error
         > s1 repair s2 0..2
           journal repair 0..2 of s1
         > sync
           -> s1 whole again",
    );
}

#[test]
fn trimming_what_is_not_committed_shows() {
    check(
        PlantedBug::TrimUncommitted,
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..4 committed 1
           journal records 0..4 of s1, low water 1
         > s1 trim 3
           journal trim to 3
         > s1 trim 9
           journal trim to 4",
    );
}
