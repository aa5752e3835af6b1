//! Configuration mistakes.

use crate::place::Place;
use crate::server::tithe;
use crate::text;

#[test]
fn configuration_mistakes_stop_the_server_and_are_named() {
    let place = Place::sqlite();
    let serve = |settings: &[(&str, &str)]| {
        let failed = tithe(place.path()).arg("serve").envs(settings.iter().copied()).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        text(&failed.stderr)
    };
    let listen = ("TITHE_LISTEN", "127.0.0.1:0");
    for (settings, message) in [
        (&[("TITHE_MARGIN_PCT", "lots")][..], "TITHE_MARGIN_PCT (from the environment) is \"lots\""),
        (&[("TITHE_ENV", "production")], "TITHE_ENV=production does not run on"),
        (
            &[listen, ("DATABASE_URL", "mysql://x")],
            "DATABASE_URL is of no database that is known here (mysql)",
        ),
        (&[listen, ("DATABASE_URL", "tithe.db")], "(no URL); write sqlite://path/to/file.db or postgres://"),
        (&[listen, ("DATABASE_URL", "postgres://h/d?sslmode=on")], "sslmode=\"on\" in the database URL"),
        (
            &[listen, ("DATABASE_URL", "postgres://tithe@127.0.0.1:1/books")],
            "the database at 127.0.0.1:1/books cannot be reached",
        ),
        (&[listen, ("TITHE_WORK_MODEL", "none")], "the work model is \"none\""),
        (&[listen, ("TITHE_MODELS", "/nowhere.toml")], "/nowhere.toml (TITHE_MODELS)"),
    ] {
        let told = serve(settings);
        assert!(told.contains(message), "{told}");
    }
    let taken = place.start();
    let told = serve(&[("TITHE_LISTEN", &taken.address)]);
    assert!(told.contains("nothing can be served on") && told.contains("in use"), "{told}");
}

#[test]
fn the_configuration_can_be_looked_at_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tithe.toml"), "margin_pct = 12.5\n").unwrap();
    let mut check = tithe(folder.path());
    let shown =
        check.args(["config", "check"]).env("TITHE_TOKEN_SECRET", "a-secret-of-mine-1234").output().unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains("margin_pct = \"12.5\"") && shown.contains("from tithe.toml"), "{shown}");
    assert!(!shown.contains("a-secret-of-mine"), "{shown}");
}
