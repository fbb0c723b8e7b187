//! A server's process, and programs that are run to their end.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::error::ServerError;
use crate::place::Place;

/// Recovering from a crash on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many lines are kept of what a server says.
const LAST_WORDS: usize = 40;

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    guard: Child,
    /// What ends it quickly and leaves nothing behind in the system.
    end: Signal,
}

impl ServerProcess {
    /// Starts a server on this machine and waits until it says in its log that it is ready.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        account: Account,
        ready: &'static str,
        end: Signal,
    ) -> Result<Self, ServerError> {
        Self::start_at(&Place::default(), program, arguments, account, Some(ready), end)
    }

    /// Starts a server where it belongs. Without words that mean that it is ready it is not waited
    /// for.
    pub(crate) fn start_at(
        place: &Place,
        program: &Path,
        arguments: &[String],
        account: Account,
        ready: Option<&'static str>,
        end: Signal,
    ) -> Result<Self, ServerError> {
        let mut command = place.command(program);
        command.args(arguments).env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        account.run(&mut command);
        let action = format!("start {}", program.display());
        let mut child = command.spawn().map_err(ServerError::system(action))?;
        let log = child.stderr.take().expect("the log is piped");
        let guard = match guard(child.id()) {
            Ok(guard) => guard,
            Err(error) => {
                // One that can't be guarded must not stay; one that can't be killed has ended.
                let _ = child.kill();
                return Err(ServerError::system("guard a server")(error));
            }
        };
        let server = Self { child, guard, end };
        let words = Arc::<Mutex<VecDeque<String>>>::default();
        // It is read to its end, as a server whose log is full waits.
        let said = listen(log, ready, Arc::clone(&words));
        if ready.is_none() || said.recv_timeout(PATIENCE).is_ok() {
            return Ok(server);
        }
        let words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let output = words.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        Err(ServerError::NotReady { program: program.to_owned(), output })
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), ServerError> {
        self.dismiss_guard();
        self.child.kill().map_err(ServerError::system("kill a server"))?;
        self.child.wait().map_err(ServerError::system("wait for a server's end"))?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| ServerError::system("signal a server")(error.into()))
    }

    /// Before the server is waited for: its process id may be another's then.
    fn dismiss_guard(&mut self) {
        // It ends of nothing else, and can't refuse.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.dismiss_guard();
        // Only what has not been waited for still has its process id.
        if let Ok(None) = self.child.try_wait()
            && kill_process(Pid::from_child(&self.child), self.end).is_ok()
        {
            let _ = self.child.wait();
        }
    }
}

/// Kills a server when this process ends without having ended it, as one that is killed itself: its
/// end of the pipe is closed then.
fn guard(server: u32) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -s KILL \"$1\"", "sh", &server.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Reads a log in a thread that ends with it. The receiver gets one message when the server is
/// ready, or is disconnected.
fn listen(
    log: impl Read + Send + 'static,
    ready: Option<&'static str>,
    words: Arc<Mutex<VecDeque<String>>>,
) -> Receiver<()> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if ready.is_some_and(|ready| line.contains(ready))
                && let Some(sender) = sender.take()
            {
                // Whoever gave up waiting has killed it.
                let _ = sender.send(());
            }
            let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
            words.push_back(line);
            if words.len() > LAST_WORDS {
                words.pop_front();
            }
        }
    });
    receiver
}

/// Runs a program to its end, in the account's name.
pub(crate) fn run(
    program: &Path,
    arguments: &[String],
    account: Account,
) -> Result<(), ServerError> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    account.run(&mut command);
    let action = format!("run {}", program.display());
    let output = command.output().map_err(ServerError::system(action))?;
    if output.status.success() {
        return Ok(());
    }
    let texts =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(ServerError::Program { program: PathBuf::from(program), output: texts.concat() })
}
