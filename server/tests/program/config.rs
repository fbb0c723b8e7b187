//! A node's configuration: written, checked, refused and used.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::support::{Node, WALTZ, assert_fails, json_lines, stdout, waltz};

/// A configuration file in a directory of its own.
struct File {
    directory: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("waltz.toml")
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

fn show(config: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(WALTZ);
    command.args(["config", "show", "--json"]).args(flags);
    command.env("WALTZ_CONFIG", config).envs(variables.iter().copied());
    command.output().expect("the program starts")
}

#[test]
fn what_is_printed_as_an_example_is_complete_and_ok() {
    let example = stdout(&waltz(["config", "example"]));
    let file = File::new(&example);
    let checked = waltz(["config", "check", &file.text()]);
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(stdout(&checked), format!("{}: ok\n", file.text()));
    for shown in json_lines(&show(&file.path(), &[], &[])) {
        let key = shown["key"].as_str().unwrap();
        let (_, name) = key.split_once('.').unwrap();
        assert!(example.contains(&format!("{name} = ")), "{key}");
    }
}

#[test]
fn everything_wrong_with_a_file_is_listed() {
    let file =
        File::new("[node]\nid = \"one\"\nlisen = 1\n[retention]\nage = \"3 weeks\"\n[lgo]\n");
    let checked = waltz(["config", "check", &file.text()]);
    assert_eq!(checked.status.code(), Some(1));
    let text = stdout(&checked).replace(&file.text(), "waltz.toml");
    for expected in [
        "waltz.toml:2: node.id: ",
        "waltz.toml:3: no key is called node.lisen; did you mean node.listen?",
        "waltz.toml:5: retention.age: ",
        "waltz.toml:6: no section is called lgo; did you mean log?",
    ] {
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
    let refused = waltz(["serve", "--config", &file.text()]);
    assert_fails(&refused, 1, "did you mean node.listen?");

    let file = File::new("[node]\nroles = [\"storage\"]\n");
    let checked = waltz(["config", "check", &file.text()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stdout(&checked).contains("cluster.coordinator"), "{}", stdout(&checked));
    assert_fails(&waltz(["serve", "--config", &file.text()]), 2, "cluster.coordinator");
}

#[test]
fn what_is_wrong_about_a_secured_coordinator_is_found_before_the_node_runs() {
    const ETCD: &str = "[cluster]\ncoordinator = \"etcd://127.0.0.1:1\"\n";
    for (text, expected) in [
        ("[coordinator_tls]\nauthorities = \"ca.pem\"\n", "are about etcd and ZooKeeper"),
        ("[coordinator_tls]\nkey = \"a.key\"\n", "(coordinator_tls.certificate and key)"),
        (
            "[coordinator_tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n",
            "(coordinator_tls.authorities)",
        ),
        ("[coordinator_login]\nuser = \"a\"\n", "--coordinator-password-file"),
    ] {
        let file = File::new(text);
        let checked = stdout(&waltz(["config", "check", &file.text()]));
        assert!(checked.contains(expected), "{checked}");
        assert_fails(&waltz(["serve", "--config", &file.text()]), 2, expected);
    }
    for (text, expected) in [
        (
            "[coordinator_tls]\nauthorities = \"/nowhere/ca.pem\"\n",
            "could not read /nowhere/ca.pem",
        ),
        ("[coordinator_tls]\nauthorities = \"/dev/null\"\n", "/dev/null has no usable certificate"),
        (
            "[coordinator_login]\nuser = \"a\"\npassword_file = \"/nowhere/word\"\n",
            "could not read the password in /nowhere/word: No such file",
        ),
        (
            "[coordinator_login]\nuser = \"a\"\npassword_file = \"/dev/null\"\n",
            "/dev/null has no usable password: the password is empty",
        ),
        (
            "[coordinator_login]\nuser = \"a:b\"\npassword_file = \"/dev/null\"\n",
            "is no user of a coordinator",
        ),
    ] {
        let file = File::new(&format!("{ETCD}{text}"));
        let checked = stdout(&waltz(["config", "check", &file.text()]));
        assert!(checked.contains(expected), "{checked}");
        let listen = "--listen=127.0.0.1:0";
        let refused = waltz(["serve", listen, "--config", &file.text()]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(!file.data().exists(), "no data is touched");
    }
}

#[test]
fn files_that_are_none_are_named() {
    let missing = waltz(["config", "check", "/nowhere/waltz.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stdout(&missing).contains("/nowhere/waltz.toml: could not be read"));
    assert_fails(&waltz(["serve", "--config=/nowhere/waltz.toml"]), 1, "/nowhere/waltz.toml");
    let file = File::new("");
    std::fs::write(file.path(), [0xff, 0xfe, b'\n']).unwrap();
    assert_fails(&waltz(["serve", "--config", &file.text()]), 1, "UTF-8");
    std::fs::write(file.path(), "[node\n").unwrap();
    assert_fails(&waltz(["serve", "--config", &file.text()]), 1, "waltz.toml:1: ");
}

#[test]
fn a_flag_goes_over_a_variable_and_a_variable_over_the_file() {
    let file = File::new("[cluster]\nname = \"file\"\npartitions = 2\nreplicas = 1\n");
    let variables = [("WALTZ_CLUSTER__NAME", "variable"), ("WALTZ_CLUSTER__PARTITIONS", "3")];
    let shown = show(&file.path(), &["--partitions=5"], &variables);
    let shown = json_lines(&shown);
    let of = |key: &str| {
        let found = shown.iter().find(|shown| shown["key"] == key).unwrap();
        (found["value"].as_str(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("cluster.partitions"), (Some("5"), "--partitions".into()));
    assert_eq!(of("cluster.name"), (Some("\"variable\""), "WALTZ_CLUSTER__NAME".into()));
    assert_eq!(of("cluster.replicas"), (Some("1"), format!("{}:4", file.text())));
    assert_eq!(of("log.format"), (Some("\"text\""), "default".into()));
    assert_fails(&show(&file.path(), &[], &[("WALTZ_NODE__IT", "3")]), 1, "WALTZ_NODE__ID?");
}

#[test]
fn a_log_for_programs_says_on_every_line_whose_it_is() {
    let file = File::new("[node]\nid = 7\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n");
    let data = format!("--data={}", file.data().display());
    let mut node = Command::new(WALTZ)
        .args(["serve", "--config", &file.text(), &data])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(node.stderr.take().expect("standard error is piped"));
    // The journal was opened, a partition is served.
    let mut lines = [String::new(), String::new()];
    let read = lines.iter_mut().try_for_each(|line| log.read_line(line).map(drop));
    node.kill().and_then(|()| node.wait()).expect("it can be killed");
    read.expect("the log is text");
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
        assert_eq!((&line["span"]["node"], &line["span"]["cluster"]), (&7.into(), &"waltz".into()));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn a_node_runs_as_its_file_says() {
    let file = File::new("[cluster]\nname = \"ours\"\npartitions = 2\n[limits]\nrecord = \"1K\"\n");
    let config = format!("--config={}", file.text());
    let node = Node::start(&file.data(), &[&config]);
    let status = node.run(["status", "--cluster=ours", "--json"]);
    assert_eq!(status.status.code(), Some(0));
    assert_fails(&node.run(["append", "--partition=2", "--data=a"]), 1, "no partition 2");
    let large = format!("--data={}", "a".repeat(2_000));
    let refused = node.run(["append", "--json", "--partition=0", &large]);
    assert!(stdout(&refused).contains("the server takes 1024"), "{}", stdout(&refused));
}
