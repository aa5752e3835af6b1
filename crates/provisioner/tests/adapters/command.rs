//! The command, with real scripts.

use crate::{ID, KEY, PASSWORD, id, order, order_with_key, ready};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tithe_bootstrap::{CreateError, Destroyed, LookupError, Order, Progress, Provisioner};
use tithe_provisioner::{CommandProvisioner, CommandSettings};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// Long enough for a script on a busy machine.
const ENOUGH: Duration = Duration::from_mins(1);

/// A script in a folder of its own.
struct Script {
    folder: TempDir,
    provisioner: CommandProvisioner,
}

impl Script {
    fn new(body: &str) -> Self {
        Self::within(ENOUGH, body)
    }

    /// A script in which `$1` is its folder. The shell is the program, and not the script: while another test starts a process, a
    /// file that was just written may not be executable yet (`ETXTBSY`).
    fn within(time_limit: Duration, body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provision.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        let settings = CommandSettings {
            arguments: vec![path.into(), folder.path().into()],
            time_limit,
            ..CommandSettings::new("/bin/sh")
        };
        Self { folder, provisioner: CommandProvisioner::new(settings, environment()) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn create(&self) -> Result<Progress, CreateError> {
        self.provisioner.create(&order()).await
    }

    async fn find(&self) -> Result<Option<Progress>, LookupError> {
        self.provisioner.find(&order()).await
    }

    async fn destroy(&self) -> Result<Destroyed, LookupError> {
        self.provisioner.destroy(&order()).await
    }

    /// Checks that it is not known whether create made something, and that lookups fail; returns the reasons.
    async fn is_of_no_use(&self) -> String {
        let create = self.create().await.unwrap_err();
        assert!(matches!(create, CreateError::Unknown { .. }), "{create}");
        let (find, destroy) = (self.find().await.unwrap_err(), self.destroy().await.unwrap_err());
        let reasons = format!("{create}\n{find}\n{destroy}");
        assert!(!reasons.contains(PASSWORD) && !reasons.contains("Secret"), "{reasons}");
        reasons
    }
}

fn environment() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap();
    let others = [
        ("HOME", "/nowhere"),
        ("LANG", "C"),
        ("TMPDIR", "/tmp"),
        ("TITHE_PROVISION_TOKEN", "TokenSecret"),
        ("TITHE_WALLET_KEY", "WalletSecret"),
        ("LD_PRELOAD", "/nowhere"),
    ];
    let others = others.map(|(name, value)| (name.into(), value.into()));
    [("PATH".into(), path)].into_iter().chain(others).collect()
}

#[tokio::test]
async fn the_program_reads_the_action_and_the_order() {
    let script = Script::new(r#"cat >> "$1/input"; echo >> "$1/input"; echo '{"state":"none"}'"#);
    script.create().await.unwrap_err();
    script.find().await.unwrap();
    script.provisioner.destroy(&order_with_key()).await.unwrap();
    let input = std::fs::read_to_string(script.file("input")).unwrap();
    let lines: Vec<serde_json::Value> =
        input.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = |action, key: Option<&str>, password: Option<&str>| {
        let order =
            serde_json::json!({"id": ID, "plan": "small", "sshPublicKey": key, "rootPassword": password});
        serde_json::json!({"action": action, "order": order})
    };
    assert_eq!(lines[0], expected("create", None, Some(PASSWORD)));
    assert_eq!(lines[1], expected("find", None, Some(PASSWORD)));
    assert_eq!(lines[2], expected("destroy", Some(KEY), None));
}

#[tokio::test]
async fn outputs_of_create_and_find() {
    let script = Script::new(
        r#"echo '{"state":"ready","host":"203.0.113.7","credentials":{"user":"root","password":"x"}}'"#,
    );
    assert_eq!(ready(script.create().await.unwrap()), "203.0.113.7 password=x user=root");
    assert_eq!(ready(script.find().await.unwrap().unwrap()), "203.0.113.7 password=x user=root");
    assert_eq!(
        script.destroy().await.unwrap_err().reason,
        "invalid output of the provisioning program: expected the state destroyed or none, got ready"
    );

    let script = Script::new(r#"echo '{"state":"pending"}'"#);
    assert_eq!(script.create().await.unwrap(), Progress::Pending);
    assert_eq!(script.find().await.unwrap(), Some(Progress::Pending));
    script.destroy().await.unwrap_err();

    let script =
        Script::new(&format!(r#"echo '{{"state":"failed","reason":"no {PASSWORD} TokenSecret\u001b"}}'"#));
    let failed = Progress::Failed { reason: "no *** ***".to_owned() };
    assert_eq!(script.create().await.unwrap(), failed);
    assert_eq!(script.find().await.unwrap(), Some(failed));
    script.destroy().await.unwrap_err();
}

#[tokio::test]
async fn outputs_of_find_and_destroy() {
    let script = Script::new(r#"echo '{"state":"none"}'"#);
    assert!(matches!(script.create().await, Err(CreateError::Unknown { .. })));
    assert_eq!(script.find().await.unwrap(), None);
    assert_eq!(script.destroy().await.unwrap(), Destroyed::NotFound);

    let script = Script::new(r#"echo '{"state":"destroyed"}'"#);
    assert!(matches!(script.create().await, Err(CreateError::Unknown { .. })));
    script.find().await.unwrap_err();
    assert_eq!(script.destroy().await.unwrap(), Destroyed::Now);
}

#[tokio::test]
async fn exit_codes_say_whether_something_was_made() {
    // Even with an output that says otherwise.
    let exit = |code: &str| Script::new(&format!(r#"echo '{{"state":"pending"}}'; {code}"#));
    for code in [64, 65, 69, 77, 78] {
        let script = exit(&format!("exit {code}"));
        assert!(matches!(script.create().await, Err(CreateError::Refused { .. })), "{code}");
        script.find().await.unwrap_err();
    }
    let script = exit("exit 75");
    let error = script.create().await.unwrap_err();
    let reason = "the provisioning program ended with exit status: 75".to_owned();
    assert_eq!(error, CreateError::Unavailable { reason, retry_after: None });
    script.find().await.unwrap_err();
    script.destroy().await.unwrap_err();
    for end in ["exit 1", "exit 63", "exit 79", "exit 127", "exit 255", "kill -TERM $$", "kill -KILL $$"] {
        exit(end).is_of_no_use().await;
    }
}

#[tokio::test]
async fn any_other_output_says_nothing() {
    let node =
        |host: &str| format!(r#"echo '{{"state":"ready","host":"{host}","credentials":{{"p":"Secret"}}}}'"#);
    for body in [
        "true".to_owned(),
        "echo Secret".to_owned(),
        "cat".to_owned(),
        r#"echo '{"state":"Secret"}'"#.to_owned(),
        r#"echo '{"state":"ready"}'"#.to_owned(),
        node("a b"),
        node(""),
    ] {
        Script::new(&body).is_of_no_use().await;
    }
}

#[tokio::test]
async fn an_output_beyond_the_limit_is_not_waited_for() {
    let reasons = Script::new("exec cat /dev/zero").is_of_no_use().await;
    assert!(reasons.contains("expected at most 65536 bytes"), "{reasons}");
    // The limit itself is fine, and much on standard error is, too.
    let script =
        Script::new(r#"head -c 1000000 /dev/zero >&2; printf '%65517s' ''; printf '{"state":"pending"}'"#);
    assert_eq!(script.create().await.unwrap(), Progress::Pending);
    let script = Script::new(r#"printf '%65518s' ''; printf '{"state":"pending"}'"#);
    script.create().await.unwrap_err();
}

#[tokio::test]
async fn a_program_that_does_not_end_in_time_is_killed() {
    let limit = Duration::from_millis(200);
    let reasons = Script::within(limit, "exec sleep 600").is_of_no_use().await;
    assert!(reasons.contains("did not end within its time limit"), "{reasons}");
    // It has said what it had to say, but it is not over.
    Script::within(limit, r#"echo '{"state":"pending"}'; exec sleep 600 >&- 2>&-"#).is_of_no_use().await;
    // It is over, but a process that it has left behind is not.
    Script::within(limit, r#"echo '{"state":"pending"}'; sleep 600 &"#).is_of_no_use().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_kills_every_process_of_the_program() {
    let script = Script::new(r#"exec 3> "$1/alive"; sleep 600 & echo alive >&3; wait"#);
    let fifo = script.file("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut alive = pipe::OpenOptions::new().read_write(true).open_receiver(&fifo).unwrap();
    let mut line = [0; 6];
    tokio::select! {
        created = script.create() => panic!("{created:?}"),
        read = alive.read_exact(&mut line) => assert_eq!(read.unwrap(), 6),
    }
    // The end of the file comes when no process has it open for writing any more: not the script, and not the one behind it.
    let mut rest = Vec::new();
    let mut reader = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
    drop(alive);
    let end = tokio::time::timeout(ENOUGH, reader.read_to_end(&mut rest)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_has_made_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let not_executable = folder.path().join("not-executable");
    std::fs::write(&not_executable, "#!/bin/sh\n").unwrap();
    for program in [folder.path().join("missing"), not_executable, folder.path().to_owned()] {
        let provisioner = CommandProvisioner::new(CommandSettings::new(&program), environment());
        let error = provisioner.create(&order()).await.unwrap_err();
        assert!(matches!(error, CreateError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("cannot be started: "), "{error}");
        provisioner.find(&order()).await.unwrap_err();
        provisioner.destroy(&order()).await.unwrap_err();
    }
}

#[tokio::test]
async fn arguments_are_passed_as_they_are_and_input_need_not_be_read() {
    let settings = CommandSettings {
        arguments: vec![r#"{"state":"failed","reason":"$HOME; *"}"#.into()],
        ..CommandSettings::new("echo")
    };
    let provisioner = CommandProvisioner::new(settings, environment());
    let failed = Progress::Failed { reason: "$HOME; *".to_owned() };
    assert_eq!(provisioner.create(&order()).await.unwrap(), failed);
    // More than fits into a pipe that nobody reads.
    let long = Order { plan: "x".repeat(1_000_000), ..order() };
    assert_eq!(provisioner.create(&long).await.unwrap(), failed);
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let script = Script::new(r#"env > "$1/env"; echo '{"state":"pending"}'"#);
    script.create().await.unwrap();
    let env = std::fs::read_to_string(script.file("env")).unwrap();
    let names: BTreeSet<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // Those that shells set on their own.
    let names: Vec<&str> =
        names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(names, ["HOME", "LANG", "PATH", "TITHE_PROVISION_TOKEN", "TMPDIR"]);
    let shown = format!("{:?}", script.provisioner);
    assert!(shown.contains("TITHE_PROVISION_TOKEN") && !shown.contains("Secret"), "{shown}");
    assert!(!shown.contains(&id().to_string()), "{shown}");
}

#[tokio::test]
async fn what_the_program_says_of_secrets_is_in_no_reason() {
    let reasons =
        Script::new(r#"input=$(cat); echo "$input"; echo "$input" >&2; exit 1"#).is_of_no_use().await;
    assert!(reasons.contains("ended with exit status: 1"), "{reasons}");
    Script::new("cat; env").is_of_no_use().await;
}
