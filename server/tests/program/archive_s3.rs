//! Trimmed history in S3: a real server, which checks signatures, goes away and comes back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use waltz_s3_server::S3Server;

use super::archive::{append, describe, log, objects, restart_as, text};
use super::health::{HEALTH, get, total};
use super::support::{Node, WALTZ, assert_fails, json_lines, stdout};

const ARCHIVE: &str = "s3://backups/of/waltz";

type Variables = Vec<(String, String)>;

/// A server with a bucket, and a node with 500 transactions that reads an archive in it.
struct Rig {
    node: Node,
    server: S3Server,
    variables: Variables,
    directory: tempfile::TempDir,
}

impl Rig {
    fn start() -> Self {
        let server = S3Server::start().unwrap();
        server.create_bucket("backups").unwrap();
        let (directory, variables) = (tempfile::tempdir().unwrap(), server.variables().to_vec());
        let node = start(&variables, directory.path(), Stdio::null());
        append(&node, 500);
        Self { node, server, variables, directory }
    }

    /// Starts the node again, whose memory has nothing then, with these variables.
    fn restart(&mut self, variables: &Variables) {
        let said = File::create(self.said()).unwrap();
        let directory = self.directory.path();
        restart_as(&mut self.node, || start(variables, directory, said.into()));
    }

    /// The log of a node that was started again.
    fn said(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn run(&self, args: &[&str]) -> Output {
        run(&self.variables, args)
    }

    /// Trims partition 0 up to an id, once an archive has everything.
    fn trim(&self, variables: &Variables, archive: &str, to: u64) -> Output {
        let (to, archive) = (format!("--to={to}"), format!("--archive={archive}"));
        let server = format!("--server={}", self.node.address);
        let trim = ["admin", "partition", "trim", "--partition=0", "--yes", "--json"];
        run(variables, &[&trim[..], &[&to, &archive, &server]].concat())
    }

    /// The archive's only object.
    fn object(&self) -> PathBuf {
        let mut objects = objects(&self.server.directory("backups"));
        assert_eq!(objects.len(), 1, "{objects:?}");
        objects.remove(0)
    }

    /// Starts a feed of everything, and waits until the node says this of the archive.
    fn feed_in_vain(&self, expected: &str) -> Feed {
        let fed = self.directory.path().join("fed");
        let child = Command::new(WALTZ)
            .args(["feed", "--partition=0", "--data", "--json"])
            .arg(format!("--server={}", self.node.address))
            .stdout(File::create(&fed).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let said = || fs::read_to_string(self.said()).unwrap();
        while !said().contains(expected) {
            assert!(Instant::now() < deadline, "{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(said().contains("can't be read from the archive"), "{}", said());
        assert!(!said().contains("backing off"), "{}", said());
        assert_eq!(fs::read_to_string(&fed).unwrap(), "", "nothing comes from elsewhere");
        Feed { child, fed }
    }

    fn metrics(&self) -> [f64; 4] {
        let (status, metrics) = get(&self.node, "/metrics");
        assert_eq!(status, 200, "{metrics}");
        ["reads", "failed_reads", "objects", "bytes"]
            .map(|name| total(&metrics, &format!("waltz_archive_{name}_total")))
    }
}

/// A feed that waits, killed when dropped.
struct Feed {
    child: Child,
    fed: PathBuf,
}

impl Feed {
    /// What it was fed, once it has everything.
    fn end(mut self) -> Vec<Value> {
        assert!(self.child.wait().unwrap().success());
        let fed = fs::read_to_string(&self.fed).unwrap();
        fed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // One that has ended can't be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(variables: &Variables, directory: &Path, log: Stdio) -> Node {
    let args = [&format!("--archive={ARCHIVE}"), HEALTH];
    Node::start_in(variables, &directory.join("data"), &args, log)
}

fn run(variables: &Variables, args: &[&str]) -> Output {
    let mut command = Command::new(WALTZ);
    command.args(args).envs(variables.iter().cloned()).stdin(Stdio::null()).output().unwrap()
}

/// The variables with one of them as this.
fn with(variables: &Variables, name: &str, value: &str) -> Variables {
    let mut variables = variables.clone();
    variables.push((name.to_owned(), value.to_owned()));
    variables
}

#[test]
fn a_consumer_that_begins_below_the_start_is_fed_everything() {
    let mut rig = Rig::start();
    let before = log(&rig.node);
    let lines = json_lines(&rig.trim(&rig.variables, ARCHIVE, 399));
    assert_eq!((&lines[0]["outcome"], &lines[0]["records"]), (&"archived".into(), &400.into()));
    assert_eq!(lines[1]["outcome"], "granted");
    rig.restart(&rig.variables.clone());
    assert_eq!(rig.metrics(), [0.0; 4]);
    assert_eq!(log(&rig.node)[..500], before);
    let [reads, failed, objects, bytes] = rig.metrics();
    let length = fs::metadata(rig.object()).unwrap().len() as f64;
    assert!(reads >= objects && objects >= 1.0, "{reads} {objects}");
    assert_eq!((failed, bytes), (0.0, objects * length));

    let listed = &json_lines(&rig.run(&["archive", "list", "--json", ARCHIVE]))[0];
    assert_eq!((&listed["first"], &listed["last"]), (&0.into(), &399.into()));
    assert_eq!(listed["bytes"], length as u64);
    let verified = rig.run(&["archive", "verify", ARCHIVE]);
    assert!(verified.status.success() && stdout(&verified).contains("399"), "{verified:?}");
    let again = json_lines(&rig.trim(&rig.variables, ARCHIVE, 449));
    assert_eq!((&again[0]["records"], &again[0]["found"]), (&50.into(), &0.into()));
}

#[test]
fn a_store_that_goes_away_is_waited_for() {
    let mut rig = Rig::start();
    let before = log(&rig.node);
    assert!(rig.trim(&rig.variables, ARCHIVE, 399).status.success());
    rig.restart(&rig.variables.clone());
    rig.server.stop();
    let feed = rig.feed_in_vain("AWS_ENDPOINT");
    assert!(rig.metrics()[1] >= 1.0);
    for command in ["list", "verify"] {
        let said = "can't list s3://backups/of/waltz";
        assert_fails(&rig.run(&["archive", command, ARCHIVE]), 1, said);
        assert_fails(&rig.run(&["archive", command, ARCHIVE]), 1, "check that it runs");
    }
    assert_fails(&rig.trim(&rig.variables, ARCHIVE, 449), 1, "the store does not serve it");
    assert_eq!(describe(&rig.node)["start"], 399);
    rig.server.restart().unwrap();
    assert_eq!(feed.end()[..500], before);
    assert!(rig.trim(&rig.variables, ARCHIVE, 449).status.success());
}

#[test]
fn an_object_that_was_changed_is_named_and_never_fed() {
    let mut rig = Rig::start();
    let before = log(&rig.node);
    assert!(rig.trim(&rig.variables, ARCHIVE, 399).status.success());
    rig.restart(&rig.variables.clone());
    let object = rig.object();
    let sound = fs::read(&object).unwrap();
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&object, bytes).unwrap();
    let name = object.strip_prefix(rig.server.directory("backups")).unwrap();
    let name = format!("s3://backups/{}", text(name));
    let verified = rig.run(&["archive", "verify", "--json", ARCHIVE]);
    assert_fails(&verified, 1, &name);
    assert_eq!(json_lines(&verified)[0]["unsound"], 1);
    let feed = rig.feed_in_vain(&name);
    fs::write(&object, sound).unwrap();
    assert_eq!(feed.end()[..500], before);
}

#[test]
fn who_may_not_read_the_store_is_told_so() {
    let mut rig = Rig::start();
    let wrong = with(&rig.variables, "AWS_SECRET_ACCESS_KEY", "guessed");
    assert_fails(&rig.trim(&wrong, ARCHIVE, 399), 1, "refuses it to this user");
    assert_eq!(describe(&rig.node)["start"], Value::Null);
    assert!(rig.trim(&rig.variables, ARCHIVE, 399).status.success());
    for command in ["list", "verify"] {
        let refused = run(&wrong, &["archive", command, ARCHIVE]);
        assert_fails(&refused, 1, "can't list s3://backups/of/waltz");
        assert_fails(&refused, 1, "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY");
    }
    rig.restart(&wrong);
    drop(rig.feed_in_vain("refuses it to this user"));
}

#[test]
fn a_bucket_has_to_be_there_and_an_endpoint_without_tls_to_be_wanted() {
    let rig = Rig::start();
    for command in ["list", "verify"] {
        let absent = rig.run(&["archive", command, "s3://absent/waltz"]);
        assert_fails(&absent, 1, "can't list s3://absent/waltz");
        assert_fails(&absent, 1, "the store has no such bucket");
    }
    let absent = rig.trim(&rig.variables, "s3://absent/waltz", 99);
    assert_fails(&absent, 1, "the store has no such bucket");
    let plain = with(&rig.variables, "AWS_ALLOW_HTTP", "false");
    assert_fails(&rig.trim(&plain, ARCHIVE, 99), 1, "AWS_ALLOW_HTTP=true");
    assert_eq!(describe(&rig.node)["start"], Value::Null);
    let archive = format!("--archive={ARCHIVE}");
    let served = run(&plain, &["serve", "--listen=127.0.0.1:0", &archive]);
    assert_fails(&served, 2, "AWS_ALLOW_HTTP=true");
}
