//! Finding the programs of a server, and installing them.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ServerError;

/// Where Debian keeps programs that are not on everyone's path, and those for Java.
const MORE_DIRECTORIES: [&str; 4] =
    ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/share/java"];

/// Where Debian keeps PostgreSQL, in a directory for each version.
const POSTGRES_DIRECTORY: &str = "/usr/lib/postgresql";

/// Finds a program on this machine; its Debian package is installed if that is what it takes.
///
/// # Errors
/// When it is not there and can't be installed.
pub fn find_or_install(
    program: &'static str,
    package: &'static str,
) -> Result<PathBuf, ServerError> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    let missing = |reason: String| ServerError::Missing { program, package, reason };
    if !rustix::process::geteuid().is_root() {
        return Err(missing("not root".to_owned()));
    }
    // One at a time, of all tests of this machine; whoever waited finds it installed.
    let lock = env::temp_dir().join("waltz-databases.lock");
    let lock =
        File::create(&lock).map_err(ServerError::system("create the lock for installing"))?;
    lock.lock().map_err(ServerError::system("lock installing"))?;
    if let Some(found) = find(program) {
        return Ok(found);
    }
    install(package).map_err(missing)?;
    find(program).ok_or_else(|| missing("it is installed and has no such program".to_owned()))
}

fn install(package: &str) -> Result<(), String> {
    let apt = |arguments: &[&str]| {
        let output = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .map_err(|error| format!("apt-get can't be run: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("apt-get failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    };
    apt(&["update"])?;
    apt(&["install", "--yes", "--no-install-recommends", package])
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    postgres_directories(Path::new(POSTGRES_DIRECTORY))
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(MORE_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Newest version first.
fn postgres_directories(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|version| root.join(version.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let root = tempfile::tempdir().expect("a directory");
        for version in ["9", "15", "not-a-version"] {
            fs::create_dir(root.path().join(version)).expect("a directory");
        }
        let found = postgres_directories(root.path());
        assert_eq!(found, [root.path().join("15/bin"), root.path().join("9/bin")]);
        assert!(postgres_directories(&root.path().join("none")).is_empty());
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-of-waltz"), None);
    }
}
