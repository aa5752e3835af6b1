//! The API's document, as its readers use it (`just test-api`): requests generated from it, and a client generated from it.
//!
//! `TITHE_TEST_API` names a folder with the Python environment `venv`, which has schemathesis, and with the package `generated`, which
//! openapi-python-client has made of the document.

use crate::server::Server;
use crate::test_env::TestEnv;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Nobody is kept out by how many requests they send, and every route exists.
const NO_LIMITS: [(&str, &str); 6] = [
    ("TITHE_REQUESTS_PER_SECOND", "0"),
    ("TITHE_MAX_UNPAID_PER_ADDRESS", "100000"),
    ("TITHE_MAX_UNPAID_PER_IDENTITY", "100000"),
    ("TITHE_MAX_STREAMS_PER_ADDRESS", "1000"),
    ("TITHE_CREDITS_NEW_INSTALLS", "100000"),
    ("TITHE_ADMIN_TOKEN", "the-operators-own-token"),
];

fn packages() -> PathBuf {
    let Some(packages) = std::env::var_os("TITHE_TEST_API") else {
        panic!("TITHE_TEST_API says where the packages are")
    };
    PathBuf::from(packages).canonicalize().unwrap()
}

fn python(program: &str) -> Command {
    let packages = packages();
    let mut command = Command::new(packages.join("venv/bin").join(program));
    command.current_dir(packages);
    command
}

fn start(env: &TestEnv) -> Server {
    env.start_with(&NO_LIMITS)
}

#[test]
#[ignore = "needs schemathesis: just test-api"]
fn whatever_the_document_allows_is_answered_as_it_says() {
    let env = TestEnv::sqlite();
    let mut server = start(&env);
    let mut schemathesis = python("schemathesis");
    schemathesis.args(["run", &server.url("/openapi.json"), "--url", &server.url("")]);
    schemathesis.args([
        "--max-examples",
        &std::env::var("TITHE_TEST_API_EXAMPLES").unwrap_or_else(|_| "50".to_owned()),
    ]);
    // A followed job's events end with the job, which nobody pays for.
    schemathesis.args(["--exclude-operation-id", "followJob", "--request-timeout", "90", "--no-color"]);
    // A sequence of requests would create a job and then wait for it, as the document says that it can: a minute each time.
    schemathesis.args(["--phases", "examples,coverage,fuzzing"]);
    // What is not allowed by the document may be allowed by the server: it ignores unknown fields, as its clients expect.
    schemathesis.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    schemathesis
        .args(["--checks", "response_headers_conformance,response_schema_conformance,unsupported_method"]);
    assert!(schemathesis.status().unwrap().success());
    assert!(server.stop());
    env.audit();
}

#[test]
#[ignore = "needs a generated client: just test-api"]
fn a_generated_client_buys_a_job() {
    let env = TestEnv::sqlite();
    let mut server = start(&env);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/api/buy.py");
    let ended =
        python("python").env("PYTHONPATH", packages()).arg(script).arg(server.url("")).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let job: Value = serde_json::from_slice(&ended.stdout).unwrap();
    println!("{job}");
    assert!(server.stop());
    assert_eq!(env.audit()["jobs"], 1);
}
