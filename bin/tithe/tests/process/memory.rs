//! What a server's memory holds: little when idle, little more after the first token was counted, and little of what clients needed who
//! have left. The figures are of private memory, which is nearly the same in a build for tests as in one for production; what a program
//! file adds to it is not.

use crate::server::Server;
use crate::test_env::TestEnv;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// How many clients follow a job at once.
const FOLLOWERS: usize = 800;

const PATIENCE: Duration = Duration::from_mins(1);

/// The private memory of a process, in bytes (`RssAnon` in `proc_pid_status(5)`).
fn private(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// How many files and sockets a process has open.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Sends a request and returns the response's lines, which end when the server closes the connection.
fn lines(server: &Server, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    BufReader::new(stream)
}

/// The value of a field of the response, which is JSON.
fn field(server: &Server, request: &str, name: &str) -> String {
    let begin = format!("\"{name}\":\"");
    for line in lines(server, request).lines() {
        if let Some((_, rest)) = line.unwrap().split_once(&begin) {
            return rest.split('"').next().unwrap().to_owned();
        }
    }
    panic!("there is no {name} in the response to {request}");
}

#[test]
fn memory_is_small_and_what_followers_needed_serves_the_next_ones() {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[
        ("TITHE_REQUESTS_PER_SECOND", "0"),
        ("TITHE_MAX_CONNECTIONS_PER_ADDRESS", "10000"),
        ("TITHE_MAX_STREAMS_PER_ADDRESS", "10000"),
        ("TITHE_MAX_STREAMS_PER_JOB", "10000"),
    ]);
    let idle = private(&server);
    let body = "{\"request\":\"Why is the sky blue?\"}";
    let post = format!(
        "POST /api/jobs HTTP/1.1\nHost: localhost\nConnection: close\nContent-Type: application/json\nContent-Length: {}\n\n{body}",
        body.len()
    );
    let job = field(&server, &post, "jobId");
    let counted = private(&server);
    println!("private memory: {} MiB idle, {} MiB with a tokenizer", idle / MIB, counted / MIB);
    assert!(idle <= 20 * MIB, "{} MiB when idle", idle / MIB);
    assert!(
        counted - idle <= 60 * MIB,
        "{} MiB more after the first token was counted",
        (counted - idle) / MIB
    );

    let follow = format!("GET /api/jobs/{job}/events HTTP/1.1\nHost: localhost\n\n");
    let wave = || -> u64 {
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|_| {
                let mut follower = lines(&server, &follow);
                let mut line = String::new();
                while !line.starts_with("event: state") {
                    line.clear();
                    assert!(follower.read_line(&mut line).unwrap() > 0, "the stream has ended");
                }
                follower
            })
            .collect();
        let most = private(&server);
        drop(followers);
        most
    };
    let first = wave().saturating_sub(counted);
    let each = first / u64::try_from(FOLLOWERS).unwrap();
    println!("{FOLLOWERS} followers: {} KiB each", each / 1024);
    assert!(each <= 40 * 1024, "{} KiB for one follower", each / 1024);
    // What one wave of followers needed serves the next one. The server notices that they have gone when it next writes to them.
    let began = Instant::now();
    while descriptors(&server) > FOLLOWERS / 2 {
        assert!(began.elapsed() < PATIENCE, "the streams are still open");
        std::thread::yield_now();
    }
    let second = wave().saturating_sub(counted);
    println!("the second wave: {} MiB, after {} MiB", second / MIB, first / MIB);
    assert!(second <= first + first / 4 + 2 * MIB, "{} MiB, after {} MiB", second / MIB, first / MIB);
    assert!(server.stop());
    env.audit();
}
