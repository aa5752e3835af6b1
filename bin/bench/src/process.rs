//! The benchmark's own child processes, and the CPU time of processes.

use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The unit of CPU time in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine counts as idle if other programs use less than this share of it.
pub(crate) const CALM: f64 = 0.1;

/// A server under measurement. It stops when this is dropped or this process ends.
pub(crate) struct Server {
    child: Child,
    /// Closing it tells the server to stop.
    until: Option<ChildStdin>,
    /// The address of the server.
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::run("serve-internal", arguments)
    }

    /// Starts another command of this program, which prints its address first and stops when its standard input is closed.
    pub(crate) fn run<A: AsRef<OsStr>>(what: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut child = ourselves(what, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let until = child.stdin.take();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "the server did not start");
        Self { child, until, address }
    }

    /// The CPU time that the server has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// Stops the server and waits until it has stopped.
    pub(crate) fn stop(mut self) {
        drop(self.until.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.until.take());
        let _gone = self.child.wait();
    }
}

/// Runs another command of this program and parses its output.
pub(crate) fn call<T: DeserializeOwned, A: AsRef<OsStr>>(
    what: &str,
    arguments: impl IntoIterator<Item = A>,
) -> T {
    let output = ourselves(what, arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{what} failed with {}", output.status);
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn ourselves<A: AsRef<OsStr>>(what: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(what).args(arguments);
    command
}

/// The CPU time that a process has used.
pub(crate) fn cpu_seconds(id: u32) -> f64 {
    Times::of(id).own
}

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All that is resident: also pages of the program itself, which other processes share.
    pub(crate) resident: u64,
    /// What no other process shares.
    pub(crate) private: u64,
}

impl Memory {
    pub(crate) fn of(id: u32) -> Self {
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
        let sum = |names: &[&str]| {
            let lines = rollup.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
            let kib = lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap());
            kib.sum::<u64>() * 1024
        };
        Self { resident: sum(&["Rss:"]), private: sum(&["Private_Clean:", "Private_Dirty:"]) }
    }
}

/// The CPU time of this process, and of its children that have ended.
pub(crate) fn our_cpu_seconds() -> f64 {
    let times = Times::of(std::process::id());
    times.own + times.children
}

/// The CPU time of the cluster in a folder: all its processes, running and ended.
pub(crate) fn cluster_cpu_seconds(folder: &Path) -> f64 {
    let file = std::fs::read_to_string(folder.join("data").join("postmaster.pid")).unwrap();
    let postmaster: u32 = file.lines().next().unwrap().trim().parse().unwrap();
    let main = Times::of(postmaster);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let living = ids.filter_map(Times::read).filter(|times| times.parent == postmaster);
    main.own + main.children + living.map(|times| times.own).sum::<f64>()
}

/// The CPU time of the whole machine: busy, and in total.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    busy: f64,
    all: f64,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let seconds = |tick: &str| tick.parse::<f64>().unwrap() / TICKS_PER_SECOND;
        let cpu: Vec<f64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(seconds).collect();
        // User, nice, system and steal. Interrupts belong to no process and are mostly caused by the benchmark.
        Self { busy: cpu[0] + cpu[1] + cpu[2] + cpu[7], all: cpu[..8].iter().sum() }
    }

    /// Waits until the machine is idle, for at most `patience`.
    pub(crate) fn settle(patience: Duration) {
        let began = Instant::now();
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut before = Self::now();
        while began.elapsed() < patience {
            timer.block_on(async { tokio::time::sleep(Duration::from_millis(500)).await });
            let now = Self::now();
            if now.others_since(before, 0.0) < CALM {
                return;
            }
            before = now;
        }
    }

    /// The share of the machine that other programs have used since `before`; `ours` is the benchmark's own time in seconds.
    pub(crate) fn others_since(self, before: Self, ours: f64) -> f64 {
        ((self.busy - before.busy - ours) / (self.all - before.all)).max(0.0)
    }
}

/// The contents of `/proc/<id>/stat`.
struct Times {
    parent: u32,
    own: f64,
    children: f64,
}

impl Times {
    fn of(id: u32) -> Self {
        Self::read(id).expect("the process lives")
    }

    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The process name before it may contain any character.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |user: usize| {
            let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
            Some((ticks(user)? + ticks(user + 1)?) / TICKS_PER_SECOND)
        };
        Some(Self { parent: fields.get(1)?.parse().ok()?, own: seconds(11)?, children: seconds(13)? })
    }
}
