//! A small process that runs a server for us, and cleans up after it even if we are killed.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Starts and stops the command at our word. At the end of its input, which comes when we are gone, it stops the command
/// and removes the folder.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
folder=$1
shift
child=
halt() {
    [ -n "$child" ] || return 0
    kill -KILL "$child"
    wait "$child"
    child=
}
while read -r word; do
    case $word in
        start)
            "$@" </dev/null >>"$folder/log" 2>&1 3>&- &
            child=$!
            ;;
        stop) halt ;;
    esac
    echo done >&3
done
halt
rm -rf "$folder"
"#;

/// A process that outlives ours, the command that it runs, and the folder that it removes.
#[derive(Debug)]
pub struct Guardian {
    folder: PathBuf,
    process: Child,
    /// Taken when the guardian is dropped.
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
}

impl Guardian {
    /// Watches over `folder`, in which the command will run with these variables only.
    pub fn start(folder: PathBuf, command: &[OsString], variables: &[(&str, OsString)]) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        // What the command writes goes to its log; our shell reports by another way.
        shell.args(["-c", &format!("exec 3>&1 >/dev/null 2>&1\n{SCRIPT}"), "tithe-test-lightning-guardian"]);
        shell.arg(&folder).args(command).current_dir(&folder);
        shell.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        // A terminal's Ctrl-C goes to the test's process group; this must live on to clean up after it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = shell.spawn()?;
        let orders = process.stdin.take();
        let reports = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { folder, process, orders, reports: BufReader::new(reports) })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the command.
    pub fn start_command(&mut self) -> io::Result<()> {
        self.order("start\n")
    }

    /// Kills the command, and waits for its end.
    pub fn stop_command(&mut self) -> io::Result<()> {
        self.order("stop\n")
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(order.as_bytes())?;
        let read = self.reports.read_line(&mut String::new())?;
        if read == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
        // Somebody may have killed it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set for the child process of a test.
    const ROLE: &str = "TITHE_TEST_LIGHTNING_ROLE";

    fn guardian(script: &str) -> Guardian {
        let folder = tempfile::tempdir().unwrap().keep();
        let command = ["/bin/sh", "-c", script].map(OsString::from);
        Guardian::start(folder, &command, &[("PATH", "/usr/bin:/bin".into()), ("WORD", "hello".into())])
            .unwrap()
    }

    /// Not a test but what the test below runs: a process with a guardian that is never dropped.
    #[test]
    fn a_process_with_a_guardian() {
        if std::env::var_os(ROLE).is_none() {
            return;
        }
        let mut guardian = guardian("echo $$ >pid; exec sleep 600");
        guardian.start_command().unwrap();
        wait_for(|| std::fs::read(guardian.folder().join("pid")).is_ok_and(|pid| pid.ends_with(b"\n")));
        println!("\nfolder {}", guardian.folder().display());
        io::stdin().read_line(&mut String::new()).unwrap();
        std::process::abort();
    }

    #[test]
    fn a_killed_process_leaves_neither_command_nor_folder() {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "guardian::tests::a_process_with_a_guardian", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let folder =
            lines.into_iter().find_map(|line| line.strip_prefix("folder ").map(PathBuf::from)).unwrap();
        let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
        assert!(is_alive(&pid));
        process.kill().unwrap();
        process.wait().unwrap();
        wait_for(|| !folder.exists() && !is_alive(&pid));
    }

    fn is_alive(pid: &str) -> bool {
        let signal = format!("kill -0 {} 2>/dev/null", pid.trim());
        Command::new("/bin/sh").args(["-c", &signal]).status().unwrap().success()
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + crate::patience::TIME_LIMIT;
        while !condition() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_runs_in_its_folder_until_it_is_stopped() {
        let mut guardian = guardian("echo $$ >pid; echo $WORD; exec sleep 600");
        let (pid, log) = (guardian.folder().join("pid"), guardian.folder().join("log"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        guardian.start_command().unwrap();
        wait_for(|| read(&log) == "hello\n");
        let pid = read(&pid);
        assert!(is_alive(&pid));
        guardian.stop_command().unwrap();
        assert!(!is_alive(&pid));
        guardian.start_command().unwrap();
        wait_for(|| read(&log) == "hello\nhello\n");
        let folder = guardian.folder().to_owned();
        drop(guardian);
        assert!(!folder.exists());
    }
}
