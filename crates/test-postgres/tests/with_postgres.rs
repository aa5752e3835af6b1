//! `with-postgres` runs a command with a server, and is not noticed otherwise.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tithe_test_postgres::{BIN_VARIABLE, URL_VARIABLE};

fn with_postgres(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command
        .args(words)
        .env_remove(URL_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The port of the server, from the command's output.
fn port(url: &str) -> u16 {
    url.strip_prefix("postgres://postgres@127.0.0.1:")
        .and_then(|rest| rest.strip_suffix("/postgres"))
        .unwrap()
        .parse()
        .unwrap()
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn the_command_finds_the_server_and_its_code_is_passed_on() {
    let script = "echo \"$TITHE_TEST_POSTGRES_URL $1\"; exit 42";
    let output = with_postgres(&["sh", "-c", script, "sh", "an argument"]).output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    let said = String::from_utf8(output.stdout).unwrap();
    let url = said.trim().strip_suffix(" an argument").unwrap();
    assert!(!listens(port(url)), "the server outlives the command");
}

#[test]
fn a_server_that_is_there_is_used() {
    let mut command = with_postgres(&["sh", "-c", "echo \"$TITHE_TEST_POSTGRES_URL\"; exit 3"]);
    let output =
        command.env(URL_VARIABLE, "postgres://there").env(BIN_VARIABLE, "/nonexistent").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"postgres://there\n".as_slice()));
}

#[test]
fn a_machine_without_postgresql_is_told_so_in_one_line() {
    let output = with_postgres(&["true"]).env(BIN_VARIABLE, "/nonexistent").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("server programs (initdb, postgres) are not in /nonexistent"), "{said}");
}

#[test]
fn a_command_that_does_not_exist_is_reported_as_a_shell_would() {
    let output = with_postgres(&["/nonexistent/command"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent/command"));
    assert_eq!(with_postgres(&[]).output().unwrap().status.code(), Some(2));
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Starts a command that ends on a signal with a code of its own, and waits for its start.
fn start_waiting() -> (Child, u16) {
    let script = "trap 'exit 15' TERM; trap 'exit 2' INT; echo \"$TITHE_TEST_POSTGRES_URL\"; read _";
    let mut child = with_postgres(&["sh", "-c", script]).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let port = port(url.trim());
    assert!(listens(port));
    (child, port)
}

#[test]
fn a_termination_reaches_the_command_which_decides_what_to_do() {
    ends_with("TERM", 15);
}

#[test]
fn an_interruption_without_a_terminal_reaches_the_command() {
    ends_with("INT", 2);
}

fn ends_with(name: &str, code: i32) {
    let (mut child, port) = start_waiting();
    // Open until the end: the command would end by itself at the end of its input.
    let input = child.stdin.take();
    signal(&child, name);
    assert_eq!(child.wait().unwrap().code(), Some(code));
    drop(input);
    assert!(!listens(port));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "polls what another process does")]
fn the_server_ends_also_when_it_is_killed() {
    let (mut child, port) = start_waiting();
    let mut input = child.stdin.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while listens(port) {
        assert!(Instant::now() < deadline, "the server is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Its command is an orphan.
    let _ = input.write_all(b"\n");
}
