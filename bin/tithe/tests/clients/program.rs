//! The programs that `.ci/with-clients` has installed.

use std::path::PathBuf;
use std::process::Command;

/// What `.ci/with-clients` says of a name.
pub(crate) fn installed(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: `just test-clients`")).into()
}

/// The folder with the npm packages.
pub(crate) fn folder() -> PathBuf {
    installed("TITHE_TEST_CLIENTS")
}

/// A program that may take two minutes.
pub(crate) fn patient(program: PathBuf) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program).current_dir(folder());
    command
}

fn source(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script)
}

/// Runs a script of this folder with the Python that has the packages.
pub(crate) fn python(script: &str) -> Command {
    let mut command = patient(installed("TITHE_TEST_PYTHON"));
    command.arg(source(script));
    command
}

/// Runs a script of this folder with Node.js.
pub(crate) fn node(script: &str) -> Command {
    // A script finds the packages of the folder that it is in.
    let copy = folder().join(script);
    std::fs::copy(source(script), &copy).unwrap();
    let mut command = patient(installed("TITHE_TEST_NODE"));
    command.arg(copy);
    command
}
