//! The protocol, told as transcripts: each is a story, what was done, and all that came of it.

use super::script::check;

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(include_str!(concat!("transcripts/", stringify!($name), ".txt")));
        }
    )*};
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
}
