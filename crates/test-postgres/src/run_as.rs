//! The user that runs the server, which refuses to run as root.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ClusterError;
use crate::error::Doing;
use crate::programs::folder_of;

/// The ways of root to run a command as the user postgres, the best first.
const SWITCHES: [&[&str]; 3] = [
    &["runuser", "-u", "postgres", "--"],
    &["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"],
    &["su", "-s", "/bin/sh", "-c", "exec \"$0\" \"$@\"", "--", "postgres"],
];

/// The way of root where there is no such user: to be somebody else in a namespace.
const NAMESPACE: [&str; 4] = ["unshare", "--user", "--map-user=1000", "--"];

/// The longest path of a folder for temporary files in which a socket's path still has room (104 bytes on macOS).
const LONGEST_BASE: usize = 64;

/// Linux's folder in memory.
const MEMORY: &str = "/dev/shm";

/// How many KiB a folder in memory must have left: 2 GiB.
const ROOMY: u64 = 2 << 20;

/// The user that runs the server.
#[derive(Debug, Default)]
pub struct RunAs {
    /// What stands before a command of that user.
    prefix: Vec<OsString>,
    /// The user and group that own the cluster's files, if they are not ours.
    owner: Option<(u32, u32)>,
}

impl RunAs {
    /// Us, unless we are root.
    pub fn choose() -> Result<Self, ClusterError> {
        if id(&["-u"]) != Some(0) {
            return Ok(Self::default());
        }
        if let (Some(user), Some(group)) = (id(&["-u", "postgres"]), id(&["-g", "postgres"]))
            && let Some(prefix) = SWITCHES.iter().find_map(|switch| working(switch))
        {
            return Ok(Self { prefix, owner: Some((user, group)) });
        }
        let prefix = working(&NAMESPACE).ok_or(ClusterError::Root)?;
        Ok(Self { prefix, owner: None })
    }

    /// `program` and the way to run it, as words of a command.
    pub fn words(&self, program: &Path) -> Vec<OsString> {
        self.prefix.iter().cloned().chain([program.into()]).collect()
    }

    /// Makes the new file or folder theirs, and nobody else's.
    pub fn hand_over(&self, path: &Path, mode: u32) -> Result<(), ClusterError> {
        let doing = || format!("handing {} to the server's user", path.display());
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group)).doing(doing())?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).doing(doing())
    }

    /// A folder for temporary files that the user can reach and that leaves room for a socket's path: the one that
    /// `TMPDIR` names, or, for what need not survive the machine, memory. A database is some 300 files, and a disk's
    /// file system may take a third of a second to make them.
    pub fn base(&self, durable: bool) -> PathBuf {
        let memory = Path::new(MEMORY);
        let wanted = if durable || env::var_os("TMPDIR").is_some() || !is_roomy(memory) {
            env::temp_dir()
        } else {
            memory.to_owned()
        };
        let short = wanted.as_os_str().len() <= LONGEST_BASE;
        if short && (self.owner.is_none() || wanted.ancestors().all(everyone_passes)) {
            wanted
        } else {
            "/tmp".into()
        }
    }
}

/// Whether there is room for a cluster with many databases: a container's may have 64 MB.
fn is_roomy(folder: &Path) -> bool {
    let answer =
        Command::new("df").arg("-Pk").arg(folder).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let answer = answer.ok().and_then(|answer| String::from_utf8(answer.stdout).ok()).unwrap_or_default();
    let free = answer.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    free.is_some_and(|free| free >= ROOMY)
}

/// The words with the first one's full path, if there is such a program.
fn prefix(words: &[&str]) -> Option<Vec<OsString>> {
    let (program, rest) = words.split_first()?;
    let program = folder_of(program)?.join(program);
    Some([program.into()].into_iter().chain(rest.iter().map(OsString::from)).collect())
}

/// [`prefix`], if a command can be run with it: a container may forbid it.
fn working(words: &[&str]) -> Option<Vec<OsString>> {
    let prefix = prefix(words)?;
    let (program, rest) = prefix.split_first()?;
    let mut command = Command::new(program);
    command.args(rest).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(prefix)
}

/// What `id` says: the standard library knows no user.
fn id(arguments: &[&str]) -> Option<u32> {
    let answer =
        Command::new("id").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(answer.stdout).ok()?.trim().parse().ok()
}

fn everyone_passes(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each way, also those that this machine would not choose.
    #[test]
    fn every_way_of_root_hands_a_command_its_arguments() {
        if id(&["-u"]) != Some(0) || id(&["-u", "postgres"]).is_none() {
            return;
        }
        for words in SWITCHES.iter().filter_map(|words| prefix(words)) {
            let script = "test \"$(id -un)\" = postgres && printf '%s|' \"$@\"";
            let (program, rest) = words.split_first().unwrap();
            let said = Command::new(program)
                .args(rest)
                .args(["/bin/sh", "-c", script, "sh", "-D", "a b"])
                .current_dir("/")
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), "-D|a b|", "{words:?}: {said:?}");
        }
    }

    #[test]
    fn somebody_else_is_never_sent_to_a_folder_that_is_closed_to_them() {
        let closed = tempfile::tempdir().unwrap();
        RunAs::default().hand_over(closed.path(), 0o700).unwrap();
        assert!(!everyone_passes(closed.path()));
        assert!(everyone_passes(Path::new("/")));
    }
}
