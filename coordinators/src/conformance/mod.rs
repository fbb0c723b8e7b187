//! What a node may rely on, whatever the coordinator: scenarios that each of them has to pass.
//!
//! They only ask and listen, by ports, so that they run on every runtime. A scenario panics where the
//! coordinator fails it.

mod keys;
mod leases;
mod node;
mod watches;

use std::fmt;
use std::future::Future;

use waltz_runtime::{CoordinatorPort, Timer};

use node::Node;

/// A coordinator under test. Scenarios share it: each has keys of its own.
pub trait Subject: Send {
    /// Its clock.
    type Timer: Timer;

    /// Another node's way to it.
    fn open(&mut self) -> Box<dyn CoordinatorPort>;

    /// The clock.
    fn timer(&self) -> Self::Timer;

    /// Cuts all connections to it and lets none be made, or lets them be made again.
    fn cut(&mut self, is_cut: bool) -> impl Future<Output = ()> + Send;
}

/// Runs every scenario, one after the other, and tells of each that it begins.
///
/// # Panics
/// Where the coordinator fails.
pub async fn run<S: Subject>(subject: &mut S, mut begin: impl FnMut(&str)) {
    macro_rules! scenarios {
        ($($module:ident::$name:ident),* $(,)?) => {
            $(
                begin(concat!(stringify!($module), "::", stringify!($name)));
                $module::$name(subject).await;
            )*
        };
    }
    scenarios!(
        keys::a_key_changes_only_as_expected,
        keys::of_two_who_create_a_key_one_wins,
        keys::a_deleted_key_is_not_the_one_before,
        keys::what_is_too_long_is_refused,
        keys::many_requests_are_all_answered,
        watches::a_watch_begins_with_what_there_is,
        watches::changes_are_told_once_and_in_order,
        watches::a_writer_sees_its_change_before_the_answer,
        watches::a_new_connection_starts_over,
        leases::a_lease_keeps_its_keys_while_it_is_kept_alive,
        leases::a_lease_that_is_given_back_ends_at_once,
        leases::a_dead_lease_holds_no_key,
        leases::a_dead_lease_comes_back_without_its_keys,
        leases::a_lost_connection_ends_no_lease,
        leases::a_lease_lives_through_many_requests,
    );
}

/// Names things of one scenario.
fn key(scenario: &str, rest: impl fmt::Display) -> String {
    format!("{scenario}/{rest}")
}
