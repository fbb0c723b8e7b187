//! The public API over a server that lives in the same process: one node, one partition, and a
//! log that commits what it is given.
//!
//! What applications rely on, and where it is tested. `core`: `core/src/client/tests/`; `api`,
//! `cancelling` and `twins`: here; the others: `client/tests/`.
//!
//! | promise | test |
//! |---|---|
//! | a call waits for its mount, for a bounded time | core `appends`: `nothing_is_sent_before_the_mount_is_ready`, `a_partition_that_is_not_mounted_in_time_fails_what_waits` |
//! | the mark is taken before a context is executed | core `appends`: `the_mark_of_a_context_is_taken_before_it_executes` |
//! | declining and failing end a context, once | `api`: `contexts_that_decline_fail_or_panic_end_as_that` |
//! | the own ReqId is the commit, and the loss of what was sent before | core `appends`: `the_own_req_id_in_the_feed_is_the_commit`, `a_commit_says_that_everything_before_it_is_lost` |
//! | completion, application of the transaction, the mark, `on_application` | `api`: `a_committed_context_is_told_in_order` |
//! | in order within a partition, side by side otherwise | core `feeding`: `transactions_are_given_in_order_one_batch_at_a_time`; `statements`: `a_partition_that_applies_slowly_holds_no_other_up` |
//! | what fails to apply is reported, comes again, and its context is told after all | `statements`: `a_context_is_told_of_its_application_after_a_later_success` |
//! | a conflict is told at once; the context runs again once its cause is applied | `api`: `a_conflict_is_told_and_the_context_executed_on_what_was_applied`; core `appends`: `a_conflict_waits_until_its_cause_is_applied` |
//! | repetitions are ignored, gaps break the protocol | core `feeding`: `a_gap_breaks_the_protocol_and_a_repetition_is_ignored` |
//! | flush: decided, and applied up to what is committed then | core `questions`: `a_flush_waits_for_earlier_calls_and_for_what_is_committed_then` |
//! | outstanding appends are bounded; a nudge finds lost ones | core `appends`: `a_full_window_makes_calls_wait`, `undecided_appends_are_found_by_a_newer_mount` |
//! | partitions are chosen at run time; others refuse calls | `api`: `partitions_are_left_and_taken_up_again` |
//! | a client ahead of the log is told so | `bad_input`: `a_client_ahead_of_the_log_is_told_so` |
//! | data is loaded lazily, once, also after lost connections | `api`: `data_that_did_not_ride_along_is_loaded_once_for_all_who_want_it`; core `questions`: `questions_are_asked_again_over_another_connection` |
//! | write, read and append locks; equal passes; the refusal names both | `statements`: `kinds_of_locks_conflict_as_they_should` |
//! | submissions can be awaited; deadlines and retry limits | core `appends`: `a_passed_deadline_is_certain_before_sending_and_in_doubt_after`, `retries_are_bounded_when_asked_for` |
//! | an append's end is a value | `api`: `an_append_meets_conflicts_as_a_value`; `test_cluster`: `a_single_try_says_what_failed_it` |
//! | dropping withdraws, detaching does not | `cancelling`; core `cancelling` |
//! | what is in doubt can be asked about, and is told for certain | `in_doubt`; core `doubts` |
//! | a feed is pulled, filtered before data is loaded, on its own, with a typed end | `feed` |
//! | two clients with one id do each other no harm: one ReqId is one transaction, and nobody is told of the other's as its own | `twins`; core `twins` |
//! | closing ends everything once | `api`: `closing_ends_what_is_under_way`; `cancelling`: `what_executes_while_its_client_closes_is_told_before_that_is_over`; core `appends`: `closing_ends_everything_once` |

mod api;
mod cancelling;
pub(crate) mod loopback;
mod twins;
