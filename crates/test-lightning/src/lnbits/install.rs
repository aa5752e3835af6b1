//! Installs LNbits, once for all tests.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::{Doing, LnbitsError};

/// The packages. bolt11, which LNbits uses, does not work with bitstring 5.
const PACKAGES: [&str; 2] = ["lnbits==1.6.2", "bitstring<5"];

/// The versions of Python that LNbits 1.6 runs on, the best first.
const PYTHONS: [&str; 4] = ["python3.12", "python3.11", "python3.10", "python3"];

/// Whether a Python is suitable, and complete: some systems pack `venv` apart.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))";

const FIND_PACKAGE: &str =
    "import importlib.util; print(importlib.util.find_spec('lnbits').submodule_search_locations[0])";

/// An installed LNbits.
pub struct Installed {
    /// The server program.
    pub uvicorn: PathBuf,
    /// The folder of LNbits' own files.
    pub package: PathBuf,
}

/// Installs LNbits below Cargo's target folder, unless it is there. Other processes that want it wait.
pub fn install() -> Result<Installed, LnbitsError> {
    let folder = folder();
    fs::create_dir_all(&folder).doing("making a folder for LNbits")?;
    // Released when it is closed, and at the end of the process.
    let lock = File::create(folder.join("lock")).doing("opening the lock of LNbits' folder")?;
    lock.lock().doing("locking LNbits' folder")?;
    let environment = folder.join("venv");
    // Written last, so that what a killed process has left is not taken for whole.
    let complete = folder.join(format!("installed-{}", PACKAGES.join("-").replace(['=', '<'], "")));
    if !complete.exists() {
        fresh(&environment)?;
        fs::write(&complete, "").doing("recording that LNbits is installed")?;
    }
    let bin = environment.join("bin");
    let package = run(Command::new(bin.join("python")).args(["-c", FIND_PACKAGE]))?;
    let package = String::from_utf8_lossy(&package.stdout).trim().into();
    Ok(Installed { uvicorn: bin.join("uvicorn"), package })
}

fn fresh(environment: &Path) -> Result<(), LnbitsError> {
    match fs::remove_dir_all(environment) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing("removing a broken LNbits"),
        _ => Ok(()),
    }?;
    let python = PYTHONS.into_iter().find(|python| is_suitable(python));
    let python = python.ok_or_else(|| {
        LnbitsError::Unavailable("there is no Python from 3.10 to 3.12 with the module venv".to_owned())
    })?;
    eprintln!("installing {} into {}; this takes a minute or two", PACKAGES.join(" "), environment.display());
    run(Command::new(python).args(["-m", "venv"]).arg(environment))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(environment.join("bin/python")).args(pip).args(PACKAGES))?;
    Ok(())
}

fn is_suitable(python: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", SUITABLE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<Output, LnbitsError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| LnbitsError::Unavailable(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LnbitsError::Unavailable(format!("{program} failed: {said}")))
}

/// Beside the program, in Cargo's target folder.
fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    target.map_or_else(env::temp_dir, Path::to_owned).join("lnbits")
}
