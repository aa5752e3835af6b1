//! A real `tithe serve`, as a process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program under test, with no configuration but what a test gives.
pub fn tithe(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tithe"));
    // Nor has its customer a key of their own, but in the folder.
    command.current_dir(folder).env("HOME", folder).env_remove("XDG_CONFIG_HOME");
    for (name, _) in std::env::vars() {
        if name.starts_with("TITHE_") || name.starts_with("FREE_TIER_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command
}

/// A server that runs until it is killed or dropped.
pub struct Server {
    folder: PathBuf,
    settings: BTreeMap<String, String>,
    child: Child,
    /// The lines that it printed first.
    pub banner: String,
    /// Its address and port.
    pub address: String,
}

impl Server {
    /// Starts one in `folder`, on a free port. Several in one folder are servers with one data directory.
    pub fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut all = BTreeMap::from([("TITHE_LISTEN".to_owned(), "127.0.0.1:0".to_owned())]);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (child, banner) = spawn(folder, &all).unwrap_or_else(|told| panic!("{told}"));
        let address = address(&banner);
        all.insert("TITHE_LISTEN".to_owned(), address.clone());
        Self { folder: folder.to_owned(), settings: all, child, banner, address }
    }

    /// That it has not ended by itself.
    pub fn assert_runs(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the server has ended by itself: {ended:?}\n{}", log_tail(&self.folder));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.assert_runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was; says why if it does not start.
    pub fn restart(&mut self) -> Result<(), String> {
        (self.child, self.banner) = spawn(&self.folder, &self.settings)?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> bool {
        self.assert_runs();
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().success()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Runs the program on the same data.
    pub fn run(&self, arguments: &[&str]) -> Output {
        tithe(&self.folder).args(arguments).envs(&self.settings).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_waited = self.child.wait();
    }
}

/// Starts the program and waits until it says that it serves.
fn spawn(folder: &Path, settings: &BTreeMap<String, String>) -> Result<(Child, String), String> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("server.log")).unwrap();
    let mut child =
        tithe(folder).arg("serve").envs(settings).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !(banner.starts_with('{') || banner.contains("\n  try ")) || !banner.ends_with('\n') {
        if lines.read_line(&mut banner).unwrap() == 0 {
            let status = child.wait().unwrap();
            return Err(format!("the server did not start: {status}\n{}", log_tail(folder)));
        }
    }
    Ok((child, banner))
}

/// The address in a banner: a text for people, or a line of JSON.
fn address(banner: &str) -> String {
    if banner.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(banner).unwrap();
        return line["address"].as_str().unwrap().to_owned();
    }
    banner.lines().next().and_then(|line| line.split_once("http://")).unwrap().1.to_owned()
}

/// The last lines of what servers have logged in a folder.
fn log_tail(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap();
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
