use super::*;

fn no_variables() -> std::iter::Empty<(String, String)> {
    std::iter::empty()
}

fn variables<const N: usize>(pairs: [(&str, &str); N]) -> impl Iterator<Item = (String, String)> {
    pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter()
}

fn defaults() -> Settings {
    load(None, no_variables(), &Flags::default()).unwrap().settings
}

fn from_file(text: &str) -> Result<Settings, String> {
    let mut problems = Vec::new();
    let layers = vec![layers::defaults(), file::parse("waltz.toml", text, &mut problems)];
    build(layers, problems).map(|loaded| loaded.settings).map_err(|problems| problems.to_string())
}

fn from_flags(given: &[&str]) -> Flags {
    let command = <Flags as clap::Args>::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from([&["serve"], given].concat()).unwrap();
    <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap()
}

#[test]
fn the_example_is_the_defaults_and_names_every_key() {
    let example = example();
    assert_eq!(from_file(&example), Ok(defaults()));
    for key in keys() {
        let is_there = |line: &str| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.strip_prefix(key.name).is_some_and(|rest| rest.starts_with(" = "))
        };
        assert!(example.lines().any(is_there), "{}", key.path());
    }
}

/// Also what is commented out there would be taken: examples are values.
#[test]
fn every_default_and_every_example_is_a_value_of_its_key() {
    for key in keys() {
        let (Initial::Value(text) | Initial::Unset(text)) = key.initial;
        assert_eq!(key.check_text(text), Ok(()), "{}", key.path());
    }
}

#[test]
fn defaults_are_those_of_the_machines() {
    let settings = defaults();
    assert_eq!(settings.cluster.name, DEFAULT_CLUSTER);
    assert_eq!(settings.limits.record.0, waltz_core::limits::Limits::default().record);
    let recording = waltz_core::recorder::DEFAULT_GENERATION_BYTES;
    assert_eq!(settings.recorder.bytes.0, recording as u64);
    let storage = waltz_core::storage::StorageConfig::default();
    assert_eq!(settings.storage.checkpoint_every.0, storage.checkpoints.every_bytes);
    assert_eq!(settings.storage.slack.0, storage.space.slack_bytes);
    let moved = u64::from(storage.space.bytes_per_second);
    assert_eq!(settings.storage.moved_bytes_per_second.0, moved);
}

#[test]
fn flags_go_over_variables_and_these_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("waltz.toml");
    let text = "[node]\nid = 2\nroles = [\"server\"]\n[cluster]\nname = \"file\"\npartitions = 7\n";
    std::fs::write(&path, text).unwrap();
    let environment =
        variables([("WALTZ_CLUSTER__NAME", "variable"), ("WALTZ_NODE__ID", "3"), ("PATH", "x")]);
    let flags = from_flags(&["--node=4", "--retain-bytes=10G", "--trim-consumed"]);
    let loaded = load(Some(&path), environment, &flags).unwrap();
    let settings = &loaded.settings;
    assert_eq!((settings.node.id, settings.cluster.name.as_str()), (4, "variable"));
    assert_eq!(settings.cluster.partitions, Some(7));
    assert_eq!(settings.node.roles, Roles(vec![Role::Server]));
    assert_eq!(settings.retention.bytes, Some(Bytes(10 << 30)));
    assert!(settings.retention.consumed);
    let origin = |key: &str| {
        let found = loaded.effective().into_iter().find(|effective| effective.key == key).unwrap();
        (found.value, found.origin)
    };
    assert_eq!(origin("node.id"), (Some("4".into()), "--node".into()));
    assert_eq!(origin("cluster.name"), (Some("\"variable\"".into()), "WALTZ_CLUSTER__NAME".into()));
    let place = format!("{}:6", path.display());
    assert_eq!(origin("cluster.partitions"), (Some("7".into()), place));
    assert_eq!(origin("node.listen"), (Some("\"127.0.0.1:7400\"".into()), "default".into()));
    assert_eq!(origin("node.advertise"), (None, "default".into()));
}

#[test]
fn roles_are_a_list_or_come_between_commas() {
    let expected = Roles(vec![Role::Server, Role::Storage]);
    for given in [&["--roles=server,storage"][..], &["--roles=server", "--roles=storage"]] {
        let loaded = load(None, no_variables(), &from_flags(given)).unwrap();
        assert_eq!(loaded.settings.node.roles, expected);
    }
    let environment = variables([("WALTZ_NODE__ROLES", "[\"server\", \"storage\"]")]);
    let loaded = load(None, environment, &Flags::default()).unwrap();
    assert_eq!(loaded.settings.node.roles, expected);
}

#[test]
fn all_problems_are_told_with_their_lines_and_what_was_meant() {
    let text = "[node]\nlisten = \"here\"\nlisen = 1\n\n[retention]\nbytes = \"3x\"\n[clutser]\n";
    let problems = from_file(text).unwrap_err();
    let lines: Vec<_> = problems.lines().collect();
    assert_eq!(
        lines,
        [
            "waltz.toml:7: no section is called clutser; did you mean cluster?",
            "waltz.toml:3: no key is called node.lisen; did you mean node.listen?",
            "waltz.toml:2: node.listen: invalid socket address syntax",
            "waltz.toml:6: retention.bytes: \"x\" is no unit of bytes; use K, M, G or T",
        ]
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let problems = from_file("[node]\nid = = 1\n").unwrap_err();
    assert!(problems.starts_with("waltz.toml:2: "), "{problems}");
    let problems = from_file("listen = \"127.0.0.1:1\"\n").unwrap_err();
    assert_eq!(problems, "waltz.toml:1: no section is called listen; did you mean node.listen?");
    let problems = from_file("node = 3\n").unwrap_err();
    assert_eq!(problems, "waltz.toml:1: node is a section; write [node] above its keys");
}

#[test]
fn variables_that_nobody_knows_are_refused() {
    let environment = variables([
        ("WALTZ_NODE__LISEN", "127.0.0.1:1"),
        ("WALTZ_NODE__ID", "x"),
        ("WALTZ_CLUSTER__NAME", ""),
        ("WALTZ_SERVER", "127.0.0.1:1"),
        ("WALTZ_LOG", "info,=x=y"),
    ]);
    let problems = load(None, environment, &Flags::default()).unwrap_err().to_string();
    let expected = "WALTZ_NODE__LISEN: no key has this variable; did you mean WALTZ_NODE__LISTEN?\n\
        WALTZ_NODE__ID: node.id: ";
    assert!(problems.starts_with(expected), "{problems}");
    assert!(problems.contains("WALTZ_LOG: log.filter: "), "{problems}");
    assert_eq!(problems.lines().count(), 3, "{problems}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/waltz.toml");
    let problems = load(Some(path), no_variables(), &Flags::default()).unwrap_err().to_string();
    assert!(problems.starts_with("/nowhere/waltz.toml: could not be read: "), "{problems}");
}
