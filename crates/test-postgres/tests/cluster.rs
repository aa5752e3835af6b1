//! A cluster does what it was asked to, and leaves nothing behind.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::env;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tithe_test_postgres::{Cluster, ClusterError, ClusterOptions, TlsFiles};

/// Set for the child processes of these tests: how the child is to end.
const ENDING: &str = "TITHE_TEST_ENDING";

fn psql(cluster: &Cluster, database: &str, statement: &str) -> Result<String, String> {
    let mut command = Command::new(cluster.bin().join("psql"));
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, "-d", database]).env_remove("PGSSLMODE");
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

fn query(cluster: &Cluster, statement: &str) -> String {
    psql(cluster, &cluster.url("postgres"), statement).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "polls what another process does")]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} has not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Whether the process is there, and not only waits for somebody to read its exit code.
fn runs(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn postmaster(cluster: &Cluster) -> u32 {
    let file = std::fs::read_to_string(cluster.folder().join("data/postmaster.pid")).unwrap();
    file.lines().next().unwrap().parse().unwrap()
}

#[test]
fn a_quick_cluster_answers_and_syncs_nothing() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let shown = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), \
                 current_setting('full_page_writes'), current_setting('max_connections'), inet_server_port(), \
                 current_setting('server_encoding'), current_user";
    assert_eq!(query(&cluster, shown), format!("off|off|off|300|{}|UTF8|postgres", cluster.port()));
    cluster.create_database("an other").unwrap();
    assert_eq!(psql(&cluster, &cluster.url("an%20other"), "SELECT current_database()").unwrap(), "an other");
    let twice = cluster.create_database("an other").unwrap_err();
    assert!(twice.to_string().contains("already exists"), "{twice}");
}

#[test]
fn a_durable_cluster_has_postgresqls_own_settings() {
    let cluster = Cluster::start(ClusterOptions { durable: true, ..ClusterOptions::default() }).unwrap();
    let set = "SELECT count(*) FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') \
               AND setting = 'on' AND source = 'default'";
    assert_eq!(query(&cluster, set), "3");
}

#[test]
fn settings_of_the_caller_win_whatever_is_in_them() {
    let settings = [("max_connections", "20"), ("cluster_name", "it's a \\ test")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster = Cluster::start(ClusterOptions { settings, ..ClusterOptions::default() }).unwrap();
    assert_eq!(query(&cluster, "SHOW max_connections"), "20");
    assert_eq!(query(&cluster, "SHOW cluster_name"), "it's a \\ test");
}

#[test]
fn a_server_that_does_not_start_is_explained_by_its_log_and_removed() {
    let settings = vec![("shared_preload_libraries".to_owned(), "no_such_library".to_owned())];
    let error = Cluster::start(ClusterOptions { settings, ..ClusterOptions::default() }).unwrap_err();
    assert!(matches!(error, ClusterError::Failed { .. }));
    let text = error.to_string();
    assert!(text.contains("could not access file \"no_such_library\""), "{text}");
}

#[test]
fn with_a_certificate_connections_must_use_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let tls = TlsFiles { certificate_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() };
    let cluster = Cluster::start(ClusterOptions { tls: Some(tls), ..ClusterOptions::default() }).unwrap();
    cluster.create_database("app").unwrap();
    let encrypted = format!("{}?sslmode=require", cluster.url("app"));
    let used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&cluster, &encrypted, used).unwrap(), "t");
    let plain = psql(&cluster, &format!("{}?sslmode=disable", cluster.url("app")), used).unwrap_err();
    assert!(plain.contains("no encryption"), "{plain}");
}

#[test]
fn a_crash_keeps_what_was_committed_and_the_port() {
    let cluster = Cluster::start(ClusterOptions { durable: true, ..ClusterOptions::default() }).unwrap();
    query(&cluster, "CREATE TABLE kept AS SELECT 21 AS n");
    let before = postmaster(&cluster);
    cluster.restart_immediate().unwrap();
    assert_ne!(postmaster(&cluster), before);
    assert_eq!(query(&cluster, "SELECT n FROM kept"), "21");
    assert!(cluster.log_tail().contains("automatic recovery in progress"), "{}", cluster.log_tail());

    cluster.stop_immediate().unwrap();
    assert!(psql(&cluster, &cluster.url("postgres"), "SELECT 1").is_err());
    assert!(!listens(cluster.port()));
    cluster.start_again().unwrap();
    assert_eq!(query(&cluster, "SELECT n FROM kept"), "21");
}

#[test]
fn dropping_a_cluster_leaves_nothing() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let (folder, pid, port) = (cluster.folder().to_owned(), postmaster(&cluster), cluster.port());
    assert!(folder.exists() && runs(pid) && listens(port));
    drop(cluster);
    assert!(!folder.exists());
    eventually("the server's end", || !runs(pid) && !listens(port));
}

#[test]
fn a_stopped_cluster_is_removed_too() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let folder = cluster.folder().to_owned();
    cluster.stop_immediate().unwrap();
    drop(cluster);
    assert!(!folder.exists());
}

/// Not a test but what the tests below run: a process with a cluster in a static, which is never dropped.
#[test]
fn a_process_with_a_cluster() {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let Ok(ending) = env::var(ENDING) else { return };
    if ending == "killed during the start" {
        println!("\nready /nowhere 0 0");
    }
    let cluster = CLUSTER.get_or_init(|| Cluster::start(ClusterOptions::default()).unwrap());
    if ending != "killed during the start" {
        println!("\nready {} {} {}", cluster.folder().display(), postmaster(cluster), cluster.port());
    }
    std::io::stdin().read_line(&mut String::new()).unwrap();
    match ending.as_str() {
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        _ => {}
    }
}

struct Process {
    child: Child,
    folder: PathBuf,
    pid: u32,
    port: u16,
}

impl Process {
    fn start(ending: &str, temporary: Option<&Path>) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_process_with_a_cluster", "--nocapture"])
            .env(ENDING, ending)
            .envs(temporary.map(|temporary| ("TMPDIR", temporary)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ready = lines.find(|line| line.starts_with("ready ")).unwrap();
        let words: Vec<&str> = ready.split(' ').collect();
        Self {
            child,
            folder: words[1].into(),
            pid: words[2].parse().unwrap(),
            port: words[3].parse().unwrap(),
        }
    }

    fn wait_for_its_end_and_nothing_left(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        eventually("the cluster's end", || !self.folder.exists() && !runs(self.pid) && !listens(self.port));
        status
    }
}

#[test]
fn a_killed_process_leaves_nothing() {
    let mut process = Process::start("killed", None);
    assert!(process.folder.exists() && runs(process.pid) && listens(process.port));
    process.child.kill().unwrap();
    assert_eq!(process.wait_for_its_end_and_nothing_left().signal(), Some(9));
}

#[test]
fn a_process_that_exits_or_aborts_leaves_nothing() {
    let (exits, aborts) = (Process::start("exit", None), Process::start("abort", None));
    assert_eq!(exits.wait_for_its_end_and_nothing_left().code(), Some(0));
    assert_eq!(aborts.wait_for_its_end_and_nothing_left().signal(), Some(6));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the moment at which the process is killed is what the test varies"
)]
fn a_process_that_is_killed_while_its_cluster_starts_leaves_nothing() {
    // Where anybody may make a folder, so that the server's user can reach it.
    let temporary =
        tempfile::tempdir_in(if Path::new("/dev/shm").exists() { "/dev/shm" } else { "/tmp" }).unwrap();
    std::fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).unwrap();
    let folders = || std::fs::read_dir(temporary.path()).unwrap().count();
    let processes = [(); 4].map(|()| Process::start("killed during the start", Some(temporary.path())));
    eventually("the clusters' folders", || folders() == processes.len());
    for mut process in processes {
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(150));
    }
    eventually("the removal of the folders", || folders() == 0);
    let temporary = temporary.path().to_str().unwrap();
    eventually("the end of all that works there", || {
        let processes = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
        !String::from_utf8_lossy(&processes.stdout).contains(temporary)
    });
}
