//! Finds the server programs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{BIN_VARIABLE, ClusterError};

/// The folders of installed versions: a parent, how the name of a version's folder begins, and where its programs are.
const INSTALLED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
];

/// The folder of `initdb`, `postgres` and their like.
pub fn folder() -> Result<PathBuf, ClusterError> {
    if let Some(named) = env::var_os(BIN_VARIABLE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return if has_programs(&named) { Ok(named) } else { Err(ClusterError::NotThere(named)) };
    }
    // The client's package brings pg_config too: its answer may have no server in it.
    let configured = pg_config().filter(|folder| has_programs(folder));
    configured.or_else(|| newest(Path::new("/"))).or_else(|| on_path("initdb")).ok_or(ClusterError::NotFound)
}

/// The folder on the `PATH`, or of the administrator's programs, that holds `program`.
pub fn folder_of(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().find(|folder| folder.is_absolute() && folder.join(program).is_file())
}

fn on_path(program: &str) -> Option<PathBuf> {
    folder_of(program).filter(|folder| has_programs(folder))
}

fn pg_config() -> Option<PathBuf> {
    let answer =
        Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim()))
}

/// The newest of the versions that a system's package manager has put below `root`.
fn newest(root: &Path) -> Option<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, programs) in INSTALLED {
        let parent = root.join(parent.trim_start_matches('/'));
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let folder = entry.path().join(programs);
            if entry.file_name().to_string_lossy().starts_with(prefix) && has_programs(&folder) {
                found.push((version(&entry.file_name()), folder));
            }
        }
    }
    found.into_iter().max().map(|(_, folder)| folder)
}

/// The numbers in a folder's name: 9.6 is older than 15, whatever the alphabet says.
fn version(name: &OsStr) -> Vec<u32> {
    name.to_string_lossy()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

pub fn has_programs(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, folder: &str, programs: &[&str]) {
        fs::create_dir_all(root.join(folder)).unwrap();
        for program in programs {
            fs::write(root.join(folder).join(program), "").unwrap();
        }
    }

    #[test]
    fn the_newest_version_is_taken_by_number() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/9.6/bin", &["initdb", "postgres"]);
        install(root.path(), "usr/lib/postgresql/15/bin", &["initdb", "postgres"]);
        install(root.path(), "usr/pgsql-14/bin", &["initdb", "postgres"]);
        assert_eq!(newest(root.path()), Some(root.path().join("usr/lib/postgresql/15/bin")));
        install(root.path(), "opt/homebrew/opt/postgresql@17/bin", &["initdb", "postgres"]);
        assert_eq!(newest(root.path()), Some(root.path().join("opt/homebrew/opt/postgresql@17/bin")));
    }

    #[test]
    fn a_folder_with_the_client_alone_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/15/bin", &["initdb", "postgres"]);
        install(root.path(), "usr/lib/postgresql/17/bin", &["psql", "pg_config"]);
        assert_eq!(newest(root.path()), Some(root.path().join("usr/lib/postgresql/15/bin")));
    }

    #[test]
    fn a_machine_without_postgresql_has_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(newest(root.path()), None);
    }
}
