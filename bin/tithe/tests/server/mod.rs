//! A real `tithe serve`, as a process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program under test, with no configuration but what a test gives.
pub fn tithe(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tithe"));
    command.current_dir(folder);
    for (name, _) in std::env::vars() {
        if name.starts_with("TITHE_") || name == "DATABASE_URL" {
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
    /// Starts one in `folder`, on a free port.
    pub fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut all = BTreeMap::from([("TITHE_LISTEN".to_owned(), "127.0.0.1:0".to_owned())]);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (child, banner) = spawn(folder, &all);
        let address = banner.lines().next().and_then(|line| line.split_once("http://")).unwrap().1.to_owned();
        all.insert("TITHE_LISTEN".to_owned(), address.clone());
        Self { folder: folder.to_owned(), settings: all, child, banner, address }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        (self.child, self.banner) = spawn(&self.folder, &self.settings);
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> bool {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().success()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Runs the program on the same data.
    pub fn run(&self, arguments: &[&str]) -> Output {
        tithe(&self.folder).args(arguments).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_waited = self.child.wait();
    }
}

/// Starts the program and waits until it says that it serves.
fn spawn(folder: &Path, settings: &BTreeMap<String, String>) -> (Child, String) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("server.log")).unwrap();
    let mut child =
        tithe(folder).arg("serve").envs(settings).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.contains("\n  try ") || !banner.ends_with('\n') {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            let mut log = String::new();
            std::fs::File::open(folder.join("server.log")).unwrap().read_to_string(&mut log).unwrap();
            panic!("the server did not start: {log}");
        }
        banner.push_str(&line);
    }
    (child, banner)
}
