//! Running a program with a limit on its time and on its output.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The maximum size of standard output.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// How much of standard error is kept. The rest is read, so that the program does not wait, and counted.
const DIAGNOSTICS_BYTES_MAX: usize = 8 * 1024;

/// How long a killed program may take to disappear.
const KILLED_WAIT: Duration = Duration::from_secs(1);

/// The reason why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("the provisioning program cannot be started")]
    NotStarted(#[source] io::Error),
    #[error("the provisioning program did not end within its time limit")]
    TimedOut,
    #[error("invalid output of the provisioning program: expected at most {OUTPUT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the connection to the provisioning program broke")]
    Broken(#[source] io::Error),
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub status: ExitStatus,
    pub output: Vec<u8>,
}

/// What the program has written to standard error so far.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    kept: Vec<u8>,
    /// The number of bytes, including those that were not kept.
    pub bytes: u64,
}

impl Diagnostics {
    /// The beginning of the text.
    pub fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    fn add(&mut self, piece: &[u8]) {
        let room = DIAGNOSTICS_BYTES_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.bytes = self.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
}

/// A program's process group, which is killed when this is dropped, unless the program has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails only if there is nothing left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs `command` with `input` on its standard input. A program that is not done within `time_limit` is killed with its process
/// group, and so is one whose call is dropped.
pub(super) async fn run(
    mut command: Command,
    input: &[u8],
    time_limit: Duration,
    diagnostics: &mut Diagnostics,
) -> Result<Finished, RunError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that it can be killed with all of its processes.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(RunError::NotStarted)?;
    // Declared after the child and so dropped before it: until the child is waited for, nobody else gets the group's number.
    let mut group = Group::of(&child);
    let finished = timeout(time_limit, talk(&mut child, input, diagnostics)).await;
    let finished = finished.unwrap_or(Err(RunError::TimedOut));
    if finished.is_ok() {
        group.0 = None;
    } else {
        drop(group);
        // A program that cannot be killed at once is waited for by the runtime.
        let _ = timeout(KILLED_WAIT, child.wait()).await;
    }
    finished
}

/// Writes the input and reads the output until both are done, and only then waits for the program's end.
async fn talk(child: &mut Child, input: &[u8], diagnostics: &mut Diagnostics) -> Result<Finished, RunError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read its input; whether it understood is in its output.
            let _ = stdin.write_all(input).await;
        }
        Ok(())
    };
    let read = async {
        let mut output = Vec::new();
        let read = |piece: &[u8]| {
            output.extend_from_slice(piece);
            if output.len() > OUTPUT_BYTES_MAX { Err(RunError::TooLong) } else { Ok(()) }
        };
        read_pieces(stdout, read).await.map(|()| output)
    };
    let read_diagnostics = read_pieces(stderr, |piece| {
        diagnostics.add(piece);
        Ok(())
    });
    let ((), output, ()) = tokio::try_join!(write, read, read_diagnostics)?;
    let status = child.wait().await.map_err(RunError::Broken)?;
    Ok(Finished { status, output })
}

async fn read_pieces(
    stream: Option<impl AsyncRead + Unpin>,
    mut with: impl FnMut(&[u8]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let length = stream.read(&mut buffer).await.map_err(RunError::Broken)?;
        match buffer.get(..length) {
            None | Some([]) => return Ok(()),
            Some(piece) => with(piece)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_complains_only_the_beginning_is_kept() {
        let mut diagnostics = Diagnostics::default();
        diagnostics.add(b"a");
        diagnostics.add(&vec![b'b'; DIAGNOSTICS_BYTES_MAX]);
        diagnostics.add(b"c");
        assert_eq!(diagnostics.beginning().len(), DIAGNOSTICS_BYTES_MAX);
        assert!(diagnostics.beginning().starts_with("ab") && diagnostics.beginning().ends_with('b'));
        assert_eq!(diagnostics.bytes, 8 * 1024 + 2);
    }
}
