//! Damage: found, told, repaired, and never served or voted with as if it were not there.

use super::script::check;

#[test]
fn a_read_finds_damage_and_tells_the_server() {
    check(
        "> s1 begins with 0..5 6..8 committed none
         > rot 4
         > rot 7
         > s1 read 0..8 max 10000
         > read
           report Error: the run of 6 records from 0 (segment 1, offset 3000) is damaged: record checksum is 4559e617, computed 271a488d; 4..=4 can't be read here
           -> s1 records 0..3 of s1
           -> s1 can't read 4..4
         > s1 read 2..8 max 10000
         > read
           -> s1 records 2..3 of s1
         > s1 read 4..8 max 10000
           -> s1 read failed: records 4..=4 can't be read here until they are repaired
         > s1 read 5..8 max 10000
         > read
           report Error: the run of 3 records from 6 (segment 1, offset 4000) is damaged: record checksum is 8b6734f5, computed 75596d40; 7..=7 can't be read here
           -> s1 records 5..5 of s1, more comes
           -> s1 records 6..6 of s1
           -> s1 can't read 4..4 7..7
         > s1 append 9..9 committed 8
           journal records 9..9 of s1, low water 8
         > sync
           -> s1 acked 9
         > s1 repair s1 7..7
           journal repair 7..7 of s1
         > s1 repair s1 3..5
           journal repair 4..4 of s1
         > s1 repair s1 4..4
         > s1 read 4..4 max 10000
           -> s1 read failed: records 4..=4 can't be read here until they are repaired
         > sync
           -> s1 can't read 4..4
           -> s1 whole again
           -> s1 whole again
         > s1 read 0..8 max 10000
         > read
           -> s1 records 0..3 of s1, more comes
           -> s1 records 4..4 of s1, more comes
           -> s1 records 5..5 of s1, more comes
           -> s1 records 6..6 of s1, more comes
           -> s1 records 7..7 of s1, more comes
           -> s1 records 8..8 of s1",
    );
}

#[test]
fn what_recovery_could_not_read_is_looked_at_closer() {
    check(
        "> s1 begins with 0..5 committed 5
         > rot 4
         > restart
           report Error: the journal is damaged: 0..=5 can't be read here
         > s2 open
           journal promise s2
         > read
           report Error: the run of 6 records from 0 (segment 1, offset 3000) is damaged: record checksum is 4559e617, computed 271a488d; 4..=4 can't be read here
         > sync
           -> s2 opened: normal s1, log s1@0 to 5, low water 5, can't read 0..5
         > s2 adopt s1@0 to 5
           -> s2 adopted, last 5, can't read 4..4
         > s2 join 5
           -> s2 out of place: records 4..=4 can't be read here: they must be repaired before the log joins
         > sync
         > s2 repair s1 0..5
           journal repair 4..4 of s1
         > s2 join 5
           journal join s2
         > sync
           -> s2 whole again
           -> s2 joined",
    );
}

#[test]
fn a_failed_read_of_many_runs_is_tried_run_by_run() {
    check(
        "> s1 begins with 0..2 3..5 6..8 committed none
         > s1 read 1..7 max 10000
         > fail read
           -> s1 read failed: they can't be read: input/output error
         > read
         > fail read
           report Error: the run of 3 records from 3 (segment 1, offset 4000) is damaged: they can't be read: input/output error; 3..=5 can't be read here
           -> s1 can't read 3..5
         > read
         > s1 read 3..7 max 10000
           -> s1 read failed: records 3..=5 can't be read here until they are repaired
         > s1 read 6..7 max 10000
         > read
           -> s1 records 6..7 of s1",
    );
}

#[test]
fn repairs_are_of_the_logs_own_session_and_of_nothing_else() {
    check(
        "> s1 begins with 0..5 committed 2
         > s1 read 4..4 max 10000
         > fail read
           report Error: the run of 6 records from 0 (segment 1, offset 3000) is damaged: they can't be read: input/output error; 0..=5 can't be read here
           -> s1 can't read 0..5
           -> s1 read failed: they can't be read: input/output error
         > s1 repair s2 4..4
           report Error: session e1.n1.00000005: record 4 is here already, of another session
           -> s1 out of place: record 4 is here already, of another session
         > s1 repair s1 5..6
           journal repair 5..5 of s1
         > s1 repair s1 7..7
           -> s1 out of place: records from 7 do not follow the log, which ends at 5
         > s3 open
           journal promise s3
         > s3 repair s1 4..4
           -> s3 out of place: the session was not joined here; joined last is e1.n1.00000005
         > s3 adopt s1@0 s2@5 to 6
           journal cut to 4
         > s3 repair s1 4..5
           journal repair 4..4 of s1
         > s3 copy s2 5..6
           journal records 5..6 of s2, low water 2
         > s3 repair s2 4..5
           report Error: session e3.n1.00000005: record 4 is here already, of another session
           -> s3 out of place: record 4 is here already, of another session
         > s3 repair s1 0..4
           journal repair 0..3 of s1
         > s3 join 6
           journal join s3
         > sync
           -> s1 fenced by s3
           -> s3 opened: normal s1, log s1@0 to 5, low water 2, can't read 0..4
           -> s3 adopted, last 4, can't read 0..4
           -> s3 can't read 0..3
           -> s3 copied to 6
           -> s3 whole again
           -> s3 joined",
    );
}

#[test]
fn cuts_trims_and_new_beginnings_forget_damage() {
    check(
        "> s1 begins with 0..2 3..8 committed 5
         > s1 read 0..0 max 10000
         > fail read
           report Error: the run of 3 records from 0 (segment 1, offset 3000) is damaged: they can't be read: input/output error; 0..=2 can't be read here
           -> s1 can't read 0..2
           -> s1 read failed: they can't be read: input/output error
         > s1 read 3..8 max 10000
         > fail read
           report Error: the run of 6 records from 3 (segment 1, offset 4000) is damaged: they can't be read: input/output error; 3..=8 can't be read here
           -> s1 can't read 0..8
           -> s1 read failed: they can't be read: input/output error
         > s1 trim 1
           journal trim to 1
         > s1 trim 3
           journal trim to 3
         > sync
         > s2 open
           journal promise s2
         > s2 adopt trimmed to 3, s1@0 to 6
           journal cut to 6
         > sync
           -> s2 opened: normal s1, log trimmed to 3, s1@0 to 8, low water 5, can't read 4..8
           -> s2 adopted, last 6, can't read 4..6
         > s3 open
           journal promise s3
         > s3 adopt trimmed to 8, s1@0 s2@8 to 9
           journal start over at 8
         > s3 copy s2 9..9
           journal records 9..9 of s2, low water 8
         > s3 join 9
           journal join s3
         > sync
           -> s3 opened: normal s1, log trimmed to 3, s1@0 to 6, low water 5, can't read 4..6
           -> s3 adopted, last 8
           -> s3 copied to 9
           -> s3 joined",
    );
}

#[test]
fn a_repair_on_its_way_does_not_outlive_a_cut() {
    check(
        "> s1 begins with 0..5 committed 2
         > s1 read 3..5 max 10000
         > fail read
           report Error: the run of 6 records from 0 (segment 1, offset 3000) is damaged: they can't be read: input/output error; 0..=5 can't be read here
           -> s1 can't read 0..5
           -> s1 read failed: they can't be read: input/output error
         > s1 repair s1 0..5
           journal repair 0..5 of s1
         > s3 open
           journal promise s3
         > s3 adopt s1@0 s2@4 to 5
           journal cut to 3
         > s3 copy s2 4..5
           journal records 4..5 of s2, low water 2
         > sync
           -> s1 fenced by s3
           -> s3 opened: normal s1, log s1@0 to 5, low water 2
           -> s3 adopted, last 3
           -> s3 copied to 5
         > s3 read 0..5 max 10000
         > read
           -> s3 records 0..3 of s1, more comes
           -> s3 records 4..5 of s2
         > restart
         > s3 read 0..5 max 10000
         > read
           -> s3 records 0..3 of s1, more comes
           -> s3 records 4..5 of s2",
    );
}

#[test]
fn who_lost_the_connection_is_told_at_the_next_opening() {
    check(
        "> s1 begins with 0..2 committed 2
         > rot 1
         > close
         > s1 read 0..2 max 10000
         > read
           report Error: the run of 3 records from 0 (segment 1, offset 3000) is damaged: record checksum is c421a307, computed 054b2254; 1..=1 can't be read here
           -> s1 records 0..0 of s1
         > s1 resume
           -> s1 resumed: joined true, last 2
           -> s1 can't read 1..1
         > s2 open
           journal promise s2
         > sync
           -> s2 opened: normal s1, log s1@0 to 2, low water 2, can't read 1..1",
    );
}

#[test]
fn a_suspect_replica_gives_records_and_nothing_else() {
    check(
        "> s1 begins with 0..2 3..4 committed 2
         > lose 4
           report Error: the journal lost entries, and nobody can tell which: the replicas of this node are suspect; they only give the records that they still have; replace them by replicas on other disks
         > s1 resume
           -> s1 suspect, last 2
         > s2 open
           -> s2 suspect, last 2
         > s1 append 3..4 committed 2
           -> s1 suspect, last 2
         > s1 trim 1
           -> s1 suspect, last 2
         > s1 read 1..2 max 10000
         > read
           -> s1 records 1..2 of s1
         > s1 read 3..4 max 10000
           -> s1 read failed: no durable record from 3 to 4: they end at 2",
    );
}

#[test]
fn a_repaired_body_stays_repaired_after_a_restart() {
    check(
        "> s1 begins with 0..5 committed 5
         > rot 4
         > s1 read 0..5 max 10000
         > read
           report Error: the run of 6 records from 0 (segment 1, offset 3000) is damaged: record checksum is 4559e617, computed 271a488d; 4..=4 can't be read here
           -> s1 records 0..3 of s1
           -> s1 can't read 4..4
         > s1 repair s1 4..4
           journal repair 4..4 of s1
         > sync
           -> s1 whole again
         > restart
           report Error: the journal is damaged: 0..=3, 5..=5 can't be read here
         > s1 resume
           -> s1 resumed: joined true, last 5
           -> s1 can't read 0..3 5..5
         > read
           report Info: the run of 6 records from 0 (segment 1, offset 3000) can be read after all
           -> s1 whole again
         > s1 read 0..5 max 10000
         > read
           -> s1 records 0..3 of s1, more comes
           -> s1 records 4..4 of s1, more comes
           -> s1 records 5..5 of s1
         > rot 4
         > s1 read 3..5 max 10000
         > read
           report Error: the run of 1 records from 4 (segment 1, offset 4000) is damaged: record checksum is 4559e617, computed 271a488d; 4..=4 can't be read here
           -> s1 records 3..3 of s1
           -> s1 can't read 4..4
         > s1 repair s1 4..5
           journal repair 4..4 of s1
         > sync
           -> s1 whole again
         > s1 read 3..5 max 10000
         > read
           -> s1 records 3..3 of s1, more comes
           -> s1 records 4..4 of s1, more comes
           -> s1 records 5..5 of s1",
    );
}
