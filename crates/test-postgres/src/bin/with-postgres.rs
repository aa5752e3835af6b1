//! Runs a command with a PostgreSQL server of its own: `with-postgres cargo test --workspace`.
//!
//! The command finds the server's administrative database in `TITHE_TEST_POSTGRES_URL`. If that is set already, the
//! command is run on that server.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ExitCode, ExitStatus, Stdio};

use tithe_test_postgres::{
    BIN_VARIABLE, Cluster, ClusterError, ClusterOptions, URL_VARIABLE, install_programs,
};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-postgres COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let arguments: Vec<OsString> = arguments.collect();
    if env::var_os(URL_VARIABLE).is_some_and(|url| !url.is_empty()) {
        return not_started(&program, &process::Command::new(&program).args(arguments).exec());
    }
    let cluster = match start() {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut command = Command::new(&program);
    command.args(arguments).env(URL_VARIABLE, cluster.url("postgres"));
    // Tests that start servers of their own find the programs there, too.
    command.env(BIN_VARIABLE, cluster.bin());
    match run(command) {
        Ok(status) => code(status),
        Err(error) => not_started(&program, &error),
    }
}

/// Starts a server, and installs the programs for it first if there are none.
fn start() -> Result<Cluster, ClusterError> {
    match Cluster::start(ClusterOptions::shared()) {
        Err(ClusterError::NotFound) => {
            let folder = install_programs().ok_or(ClusterError::NotFound)?;
            Cluster::start(ClusterOptions { programs: Some(folder), ..ClusterOptions::shared() })
        }
        started => started,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(mut command: Command) -> io::Result<ExitStatus> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let on_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            // A terminal has sent it to the command too, and many take a second one as "at once".
            _ = interrupt.recv() => if !on_terminal { forward(&child, "INT").await },
            _ = terminate.recv() => forward(&child, "TERM").await,
        }
    }
}

/// Through a shell: there is no safe way to send a signal in the standard library.
async fn forward(child: &Child, signal: &str) {
    if let Some(id) = child.id() {
        let kill = format!("kill -{signal} {id}");
        let _ = Command::new("/bin/sh").args(["-c", &kill]).stdin(Stdio::null()).status().await;
    }
}

/// The command's code, as a shell would tell it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn not_started(program: &OsString, error: &io::Error) -> ExitCode {
    eprintln!("with-postgres: {}: {error}", program.display());
    ExitCode::from(127)
}
