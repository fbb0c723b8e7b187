//! What is in `deploy/`, run and read.

use std::path::{Path, PathBuf};
use std::process::Command;

use waltz_databases::find_or_install;

use super::support::WALTZ;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

#[test]
fn a_day_of_operations_fails_no_submission() {
    find_or_install("etcd", "etcd-server").unwrap();
    find_or_install("openssl", "openssl").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .arg(deploy("day-of-operations.sh"))
        .arg(WALTZ)
        .env("TMPDIR", directory.path())
        .output()
        .expect("bash is there");
    let [said, failed] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.contains("submissions committed, none failed"), "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

/// The settings that packages bring are those that there are.
#[test]
fn settings_in_manifests_are_known() {
    let manifest = std::fs::read_to_string(deploy("kubernetes/waltz.yaml")).unwrap();
    let (_, rest) = manifest.split_once("waltz.toml: |\n").expect("it brings settings");
    let settings = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let settings: String = settings.map(|line| format!("{}\n", line.trim_start())).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let output = Command::new(WALTZ).args(["config", "check"]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
