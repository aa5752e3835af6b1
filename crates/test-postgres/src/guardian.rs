//! The cleanup process of a cluster, which works even after its parent was killed.

use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the last process that holds the pipe's other end is gone, then
/// stops the server and removes the folder. A server that was just being started may need a second try.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
folder=$1
shift
tries=0
while [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
    [ "$tries" -eq 0 ] || sleep 0.1
    "$@"
    rm -rf "$folder"
    tries=$((tries + 1))
done
"#;

/// A small process that outlives ours, and the pipe whose end tells it that we are gone.
#[derive(Debug)]
pub struct Guardian {
    folder: PathBuf,
    stop: Vec<OsString>,
    process: Child,
    /// Taken when the cluster is dropped.
    alive: Option<PipeWriter>,
}

impl Guardian {
    /// Watches over `folder`; `stop` is the command that stops the server in it.
    pub fn start(folder: &Path, stop: Vec<OsString>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let process = spawn(folder, &stop, reader)?;
        Ok(Self { folder: folder.to_owned(), stop, process, alive: Some(writer) })
    }

    /// Our end of the pipe, to be the input of a command that works in the folder: the guardian then waits for the
    /// command too, and does not remove what is still being written.
    pub fn hold(&self) -> io::Result<Stdio> {
        self.alive.as_ref().map_or_else(|| Ok(Stdio::null()), |alive| Ok(alive.try_clone()?.into()))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.process.wait();
        if self.folder.exists() {
            // Somebody has killed it.
            let second = io::pipe().and_then(|(reader, _)| spawn(&self.folder, &self.stop, reader));
            let _ = second.and_then(|mut second| second.wait());
        }
    }
}

fn spawn(folder: &Path, stop: &[OsString], alive: PipeReader) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "tithe-test-postgres-guardian"]).arg(folder).args(stop);
    // A terminal's Ctrl-C goes to the test's process group; this must live on to clean up after it.
    command.process_group(0).current_dir("/").stdin(alive).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
