//! Real processes of the `waltz` program, each with a directory and a port of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;

/// The program under test.
pub(crate) const WALTZ: &str = env!("CARGO_BIN_EXE_waltz");

/// Runs the program to its end.
pub(crate) fn waltz<const N: usize>(args: [&str; N]) -> Output {
    Command::new(WALTZ).args(args).stdin(Stdio::null()).output().expect("the program starts")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

/// Each line of standard output as JSON.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Asserts that a command failed with this code and says this on standard error.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, expected: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    assert!(!error.contains("panicked"), "{error}");
}

/// Sends a signal to a process.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    rustix::process::kill_process(id, signal).expect("it can be told");
}

/// A single node, killed when dropped.
pub(crate) struct Node {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// Where health checks are answered, if they are.
    pub(crate) health: Option<String>,
}

impl Node {
    /// Starts a complete node on a free port.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        Self::start_logging(data, args, Stdio::null())
    }

    /// The same, with its log going there.
    pub(crate) fn start_logging(data: &Path, args: &[&str], log: Stdio) -> Self {
        Self::start_in(&[], data, args, log)
    }

    /// The same, with these variables beside the test's own.
    pub(crate) fn start_in(
        variables: &[(String, String)],
        data: &Path,
        args: &[&str],
        log: Stdio,
    ) -> Self {
        let mut child = Command::new(WALTZ)
            .args(["serve", "--json", "--listen=127.0.0.1:0", "--while-stdin-open"])
            .arg(format!("--data={}", data.display()))
            .args(args)
            .envs(variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the node says that it is ready");
        let ready: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(ready["ready"], true, "{ready}");
        let address = ready["listen"].as_str().expect("an address").to_owned();
        let health = ready["health"].as_str().map(str::to_owned);
        Self { child, address, health }
    }

    /// Sends it a signal that it goes on after.
    pub(crate) fn signal(&self, wanted: Signal) {
        signal(&self.child, wanted);
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and returns how it ended.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        signal(&self.child, Signal::TERM);
        // Waiting would close it, and the node would end by that.
        let _open = self.child.stdin.take();
        self.child.wait().expect("it ends").code()
    }

    /// Runs a command against it.
    pub(crate) fn run<const N: usize>(&self, args: [&str; N]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs a command against it that reads this from standard input.
    pub(crate) fn run_with_input<const N: usize>(&self, args: [&str; N], input: &str) -> Output {
        let mut child = Command::new(WALTZ)
            .args(args)
            .arg(format!("--server={}", self.address))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads its input");
        drop(stdin);
        child.wait_with_output().expect("the program ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
