//! A shard: one thread, one current-thread runtime, one loop.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;

/// Runs a node's loop to its end on the calling thread, in a runtime of its own.
///
/// Sockets, timers and loop share the thread. The loop is a task like those of its connections, as
/// waking a task of the same thread costs no system call, and waking what `block_on` polls does.
///
/// # Errors
/// When the operating system refuses what a runtime needs, such as file descriptors.
///
/// # Panics
/// When the loop does.
pub fn run_shard<T: Send + 'static>(
    shard: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let outcome = runtime.block_on(async { tokio::spawn(shard).await });
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(output) => Ok(output),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{NetConfig, TcpNet};

    #[test]
    fn a_shard_has_sockets_and_time_and_returns_its_output() {
        let output = run_shard(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let net = TcpNet::listening(listener, NetConfig::default())?;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            drop(net);
            io::Result::Ok(7)
        });
        assert_eq!(output.unwrap().unwrap(), 7);
    }

    #[test]
    fn a_panic_of_the_loop_reaches_the_caller() {
        let outcome = std::panic::catch_unwind(|| run_shard(async { panic!("on purpose") }));
        assert!(outcome.is_err());
    }
}
