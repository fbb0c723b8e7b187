//! Sessions, as transcripts.

use super::script::check;

#[test]
fn the_first_session_of_a_partition() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > sync 1
         > sync
           -> s1 opened: normal none, log nothing, low water none
         > s1 adopt nothing
           -> s1 adopted, last none
         > s1 join none
           journal join s1
         > s1 append 0..2 committed none
           journal records 0..2 of s1, low water none
         > s1 confirm 4
           -> s1 confirmed 4
         > s1 append 3..3 committed 1
           journal records 3..3 of s1, low water 1
         > sync 2
           -> s1 joined
           -> s1 acked 2
         > sync
           -> s1 acked 3
         > s1 commit 3
           journal low water 3
         > s1 commit 3",
    );
}

#[test]
fn one_sync_acknowledges_all_appends_in_one_answer() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..0 committed none
           journal records 0..0 of s1, low water none
         > s1 append 1..1 committed none
           journal records 1..1 of s1, low water none
         > sync
           -> s1 opened: normal none, log nothing, low water none
           -> s1 adopted, last none
           -> s1 joined
           -> s1 acked 1",
    );
}

#[test]
fn a_promise_fences_lower_sessions_before_it_is_durable() {
    check(
        "> s2 begins
         > s2 append 0..1 committed none
           journal records 0..1 of s2, low water none
         > s3 open
           journal promise s3
         > s2 append 2..2 committed 1
           -> s2 fenced by s3
         > s2 confirm 1
           -> s2 fenced by s3
         > s2 resume
           -> s2 fenced by s3
         > s2 commit 1
           -> s2 fenced by s3
         > s1 open
           -> s1 fenced by s3
         > sync 1
           -> s2 fenced by s3
         > sync
           -> s3 opened: normal s2, log s2@0 to 1, low water none",
    );
}

#[test]
fn opening_again_is_answered_once_all_before_is_durable() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > s1 open
         > sync
           -> s1 opened: normal none, log nothing, low water none
           -> s1 opened: normal none, log nothing, low water none
         > s1 open
           -> s1 opened: normal none, log nothing, low water none",
    );
}

/// What two replicas hold of the same sessions is equal; only what differs is cut, and what a
/// quorum may count on stays where it is.
#[test]
fn a_cut_takes_exactly_what_differs() {
    check(
        "> s1 begins with 0..4 5..8 committed 2
         > s4 open
           journal promise s4
         > s4 adopt s1@0 s3@7 to 9
           journal cut to 6
         > s4 copy s3 7..8
           journal records 7..8 of s3, low water 2
         > s4 copy s3 8..9
           journal records 9..9 of s3, low water 2
         > s4 join 9
           journal join s4
         > s4 append 10..10 committed 9
           journal records 10..10 of s4, low water 9
         > sync
           -> s4 opened: normal s1, log s1@0 to 8, low water 2
           -> s4 adopted, last 6
           -> s4 copied to 8
           -> s4 copied to 9
           -> s4 joined
           -> s4 acked 10
         > s4 read 0..10 max 100000
         > read
           -> s4 records 0..4 of s1, more comes
           -> s4 records 5..6 of s1, more comes
           -> s4 records 7..8 of s3, more comes
           -> s4 records 9..9 of s3, more comes
           -> s4 records 10..10 of s4
         > s5 open
           journal promise s5
         > sync
           -> s5 opened: normal s4, log s1@0 s3@7 s4@10 to 10, low water 9",
    );
}

/// A longer log is not cut where it agrees: only beyond the chosen one's end.
#[test]
fn a_log_that_goes_on_longer_is_cut_at_the_chosen_end() {
    check(
        "> s1 begins with 0..5 committed none
         > s2 open
           journal promise s2
         > s2 adopt s1@0 to 3
           journal cut to 3
         > s2 adopt s1@0 to 3
         > s2 adopt s1@0 to 2
           -> s2 out of place: the chosen log was told longer before
         > sync
           -> s2 opened: normal s1, log s1@0 to 5, low water none
           -> s2 adopted, last 3
           -> s2 adopted, last 3
         > s2 join 3
           journal join s2
         > s2 adopt s1@0 to 3
         > s2 join 3
         > sync
           -> s2 joined
           -> s2 adopted, last 3
           -> s2 joined",
    );
}

#[test]
fn nothing_known_to_be_committed_is_cut() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..5 committed 3
           journal records 0..5 of s1, low water 3
         > s2 open
           journal promise s2
         > s2 adopt s1@0 to 2
           report Error: session e2.n1.00000005: the chosen log agrees up to 2, and 3 is known to be committed
           -> s2 out of place: the chosen log agrees up to 2, and 3 is known to be committed
         > s2 adopt s1@0 to 3
           journal cut to 3",
    );
}

#[test]
fn an_open_promise_and_an_adopted_log_come_before_copies_and_joins() {
    check(
        "> s1 resume
           -> s1 unknown
         > s1 open
           journal create
           journal promise s1
         > s2 resume
           -> s2 out of place: the session was not opened here; promised is e1.n1.00000005
         > s1 copy s1 0..0
           -> s1 out of place: no chosen log was adopted in this session
         > s1 join none
           -> s1 out of place: no chosen log was adopted in this session
         > s1 append 0..0 committed none
           -> s1 out of place: the session was not joined here; joined last is none
         > s1 confirm 1
           -> s1 out of place: the session was not joined here; joined last is none
         > s1 adopt s2@0 to 3
           report Error: session e1.n1.00000005: the chosen log's sessions do not ascend up to the asking one
           -> s1 out of place: the chosen log's sessions do not ascend up to the asking one
         > s1 adopt s1@2 to 3
           report Error: session e1.n1.00000005: the chosen log's sessions do not ascend up to the asking one
           -> s1 out of place: the chosen log's sessions do not ascend up to the asking one",
    );
}

#[test]
fn copies_are_of_the_chosen_log_and_joins_at_its_end() {
    check(
        "> s3 open
           journal create
           journal promise s3
         > s3 adopt s1@0 s2@4 to 6
         > s3 copy s1 2..3
           -> s3 out of place: records from 2 do not follow the log, which ends at none
         > s3 copy s2 0..1
           report Error: session e3.n1.00000005: records from 0 are not the chosen log's
           -> s3 out of place: records from 0 are not the chosen log's
         > s3 copy s1 0..4
           report Error: session e3.n1.00000005: records from 0 are not the chosen log's
           -> s3 out of place: records from 0 are not the chosen log's
         > s3 copy s1 0..3
           journal records 0..3 of s1, low water none
         > s3 join 6
           -> s3 out of place: joining at 6 (v0) needs a log that ends there: it ends at 3 (v0), the chosen at 6 (v0)
         > s3 copy s2 4..7
           report Error: session e3.n1.00000005: records from 4 are not the chosen log's
           -> s3 out of place: records from 4 are not the chosen log's
         > s3 copy s2 4..6
           journal records 4..6 of s2, low water none
         > s3 join 5
           -> s3 out of place: joining at 5 (v0) needs a log that ends there: it ends at 6 (v0), the chosen at 6 (v0)
         > s3 join 6
           journal join s3
         > s3 copy s2 4..6
           -> s3 out of place: no chosen log was adopted in this session",
    );
}

#[test]
fn repeats_of_appends_are_harmless() {
    check(
        "> s1 open
           journal create
           journal promise s1
         > s1 adopt nothing
         > s1 join none
           journal join s1
         > s1 append 0..3 committed none
           journal records 0..3 of s1, low water none
         > sync 3
           -> s1 opened: normal none, log nothing, low water none
           -> s1 adopted, last none
           -> s1 joined
         > s1 append 1..2 committed none
         > s1 append 2..5 committed 1
           journal records 4..5 of s1, low water 1
         > s1 append 7..7 committed none
           -> s1 out of place: records from 7 do not follow the log, which ends at 5
         > s1 append 0..5 committed 9
           journal low water 5
         > sync 1
           -> s1 acked 3
           -> s1 acked 2
         > sync
           -> s1 acked 5",
    );
}

#[test]
fn a_resumed_session_goes_on_where_the_disk_is() {
    check(
        "> s1 begins
         > s1 append 0..1 committed none
           journal records 0..1 of s1, low water none
         > s1 resume
         > s1 append 2..2 committed none
           journal records 2..2 of s1, low water none
         > sync 1
           -> s1 acked 1
           -> s1 resumed: joined true, last 1
         > restart
         > s1 resume
           -> s1 resumed: joined true, last 1
         > s1 append 2..2 committed 0
           journal records 2..2 of s1, low water 0
         > sync
           -> s1 acked 2",
    );
}

#[test]
fn a_crash_loses_what_was_adopted_but_not_the_promise() {
    check(
        "> s2 open
           journal create
           journal promise s2
         > s2 adopt s1@0 to 1
         > s2 copy s1 0..0
           journal records 0..0 of s1, low water none
         > s2 copy s1 1..1
           journal records 1..1 of s1, low water none
         > sync 3
           -> s2 opened: normal none, log nothing, low water none
           -> s2 adopted, last none
           -> s2 copied to 0
         > restart
         > s1 open
           -> s1 fenced by s2
         > s2 resume
           -> s2 resumed: joined false, last 0
         > s2 copy s1 1..1
           -> s2 out of place: no chosen log was adopted in this session
         > s2 adopt s1@0 to 1
           -> s2 adopted, last 0
         > s2 copy s1 1..1
           journal records 1..1 of s1, low water none
         > s2 join 1
           journal join s2
         > sync
           -> s2 copied to 1
           -> s2 joined",
    );
}
