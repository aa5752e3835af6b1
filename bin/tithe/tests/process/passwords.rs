//! The password of a database is nobody's business.

use crate::server::tithe;
use crate::test_env::TestEnv;
use crate::{all_of, ask};
use std::process::Stdio;

const PASSWORD: &str = "sesame-7041";

#[test]
fn the_password_of_a_database_that_is_used_is_never_shown() {
    let env = TestEnv::postgres();
    let (scheme, rest) = env.url().split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    let user = user.split(':').next().unwrap();
    let with_password = format!("{scheme}://{user}:{PASSWORD}@{rest}");
    let in_query = format!("{}{}password={PASSWORD}", env.url(), if rest.contains('?') { '&' } else { '?' });
    for url in [with_password, in_query] {
        let settings = [("DATABASE_URL", url.as_str()), ("TITHE_LOG", "trace")];
        let mut server = env.start_with(&settings);
        assert!(ask(&server, &["hello"]).status.success());
        let mut said = server.banner.clone();
        assert!(said.contains("***"), "{said}");
        for arguments in [&["config", "check"][..], &["migrate"], &["audit"]] {
            let ran = env.tithe().args(arguments).env("DATABASE_URL", &url).output().unwrap();
            assert!(ran.status.success());
            said.push_str(&all_of(&ran));
        }
        assert!(server.stop());
        said.push_str(&std::fs::read_to_string(env.path().join("server.log")).unwrap());
        assert!(!said.contains(PASSWORD), "{:?}", said.lines().find(|line| line.contains(PASSWORD)));
    }
}

#[test]
fn the_password_of_a_database_is_not_in_what_is_said_of_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Vec::new();
    for url in [
        // Nobody is there.
        "postgres://u:PASSWORD@127.0.0.1:1/d",
        "postgres://127.0.0.1:1/d?user=u&password=PASSWORD",
        "postgres://u:PASSWORD@host.invalid/d?connect_timeout=1",
        // A word of it is wrong.
        "mysql://u:PASSWORD@h/d",
        "postgres://u:PASSWORD@h:port/d",
        "postgres://u:PASSWORD@h/d?sslmode=on",
        "postgres://u:PASSWORD@h/d?colour=blue",
        // Characters that should have been written as %2F and the like.
        "postgres://u:1#PASSWORD@127.0.0.1:1/d",
        "postgres://u:1%PASSWORD@127.0.0.1:1/d",
        "postgres://u:1@PASSWORD@127.0.0.1:1/d",
        "postgres://u:1/PASSWORD@h/d",
        "postgres://u:1?PASSWORD@h/d",
        // Something in front is wrong.
        "postgres:u:PASSWORD@h/d",
        "u:PASSWORD@h/d",
    ] {
        let url = url.replace("PASSWORD", PASSWORD);
        // All at once: a database that is not there is waited for.
        for arguments in [&["config", "check"][..], &["serve"], &["migrate"], &["audit"]] {
            let mut command = tithe(folder.path());
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.env("DATABASE_URL", &url).env("TITHE_LISTEN", "127.0.0.1:0").env("TITHE_LOG", "trace");
            running.push((format!("{arguments:?} with {url}"), command.spawn().unwrap()));
        }
    }
    let mut shown = Vec::new();
    for (what, command) in running {
        let said = all_of(&command.wait_with_output().unwrap());
        assert!(!said.is_empty(), "{what} says nothing");
        let showing = said.lines().find(|line| line.contains(PASSWORD));
        shown.extend(showing.map(|line| format!("{what}: {line}")));
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}
