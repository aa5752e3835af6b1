//! Backups: made while a server sells, restored, and what is refused.

use crate::operating::{procedure, shell};
use crate::server::Server;
use crate::test_env::TestEnv;
use crate::{all_of, ask, text};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tithe_test_postgres::{Cluster, ClusterOptions};

fn run_procedure(folder: &Path, name: &str, variables: &[(&str, &str)]) -> Output {
    shell(folder, &procedure(name)).envs(variables.iter().copied()).output().unwrap()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    all_of(output)
}

fn refused(output: &Output, parts: &[&str]) {
    let told = all_of(output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(parts.iter().all(|part| told.contains(part)), "{parts:?} in {told}");
}

fn sell(server: &Server) {
    let sold = ask(server, &["hello"]);
    assert!(sold.status.success(), "{}", all_of(&sold));
}

/// The path of a backup, beside the data directory.
fn backup(env: &TestEnv, name: &str) -> String {
    let path = env.path().join(name);
    let path = path.to_str().unwrap().to_owned();
    ok(&env.run(&["backup", &path, "--audit"]));
    path
}

fn names(folder: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().contains(part)).collect()
}

/// Every file of the data directory, but the memory that SQLite shares between processes and the lock.
fn files(env: &TestEnv) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = names(env.file().parent().unwrap(), "tithe.db")
        .into_iter()
        .filter(|path| !["-shm", "-lock"].iter().any(|end| path.to_string_lossy().ends_with(end)))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_backup_of_a_running_server_is_restored_as_the_chapter_says() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let folder = env.path().join("backups");
    let variables = [("BACKUPS", folder.to_str().unwrap())];
    let made = ok(&run_procedure(env.path(), "back-up-sqlite", &variables));
    assert!(made.contains("complete and on disk") && made.contains("audit: sound"), "{made}");
    assert!(made.contains("token.secret"), "{made}");
    sell(&server);
    // While a server uses it, the database is not replaced.
    let restore = || run_procedure(env.path(), "restore-sqlite", &variables);
    assert!(!restore().status.success());
    assert_eq!(env.audit()["jobs"], 2);
    assert!(server.stop());
    let told = ok(&restore());
    assert!(told.contains("audit: sound") && told.contains("the former database is kept"), "{told}");
    // The wallet has received what the database has lost.
    assert_eq!(told.matches("LOST: payment ").count(), 2, "{told}");
    assert!(told.contains("described as \\\"Tithe: ") || told.contains("described as \"Tithe: "), "{told}");
    assert_eq!(env.audit()["jobs"], 1);
    assert_eq!(names(env.file().parent().unwrap(), "before-restore").len(), 1);
    server.restart().unwrap();
    sell(&server);
    assert_eq!(env.audit()["jobs"], 2);
}

#[test]
fn a_restore_needs_no_database_that_is_whole_nor_any() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    assert!(server.stop());
    let saved = env.path().join("all.db");
    let saved = saved.to_str().unwrap();
    ok(&env.run(&["backup", saved, "--with-secrets"]));
    // Random bytes, then nothing at all.
    fs::write(env.file(), vec![7; 100_000]).unwrap();
    refused(&env.run(&["backup", "other.db"]), &["is not a SQLite database"]);
    let told = server.restart().unwrap_err();
    assert!(told.contains("is not a SQLite database"), "{told}");
    ok(&env.run(&["restore", saved]));
    assert_eq!(env.audit()["jobs"], 1);
    let secret = env.path().join("tithe-data/token.secret");
    let before = fs::read(&secret).unwrap();
    fs::remove_dir_all(env.path().join("tithe-data")).unwrap();
    let told = ok(&env.run(&["restore", saved]));
    assert!(told.contains("there was no database before") && told.contains("secret restored"), "{told}");
    assert_eq!(fs::read(&secret).unwrap(), before);
    assert_eq!(env.audit()["jobs"], 1);
}

#[test]
fn a_copy_over_the_database_of_a_killed_server_is_noticed_before_anything_is_written() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let older = backup(&env, "older.db");
    for _ in 0..3 {
        sell(&server);
    }
    server.kill();
    assert!(fs::metadata(env.file().with_file_name("tithe.db-wal")).unwrap().len() > 0);
    // The mistake: the write-ahead log of the former database is left beside the copy.
    fs::copy(&older, env.file()).unwrap();
    let before = files(&env);
    let told = server.restart().unwrap_err();
    assert!(told.contains("was replaced while the write-ahead log"), "{told}");
    let audited = env.run(&["audit"]);
    assert_eq!(audited.status.code(), Some(2), "{}", all_of(&audited));
    assert!(files(&env) == before, "something was written");
    // What to do is what the message says.
    ok(&env.run(&["restore", &older]));
    assert_eq!(env.audit()["jobs"], 1);
    server.restart().unwrap();
    sell(&server);
    assert_eq!(env.audit()["jobs"], 2);
}

#[test]
fn a_server_does_not_start_on_a_corrupt_database_that_was_not_closed() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let whole = backup(&env, "whole.db");
    sell(&server);
    server.kill();
    // A disk that writes zeros over the second half.
    let mut bytes = fs::read(env.file()).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(env.file(), &bytes).unwrap();
    let _log = fs::remove_file(env.file().with_file_name("tithe.db-wal"));
    fs::write(env.file().with_file_name("tithe.db-wal"), vec![0; 32]).unwrap();
    let before = files(&env);
    let told = server.restart().unwrap_err();
    assert!(told.contains("is corrupt: ") && told.contains("tithe restore"), "{told}");
    assert!(files(&env) == before, "something was written");
    ok(&env.run(&["restore", &whole]));
    server.restart().unwrap();
    assert_eq!(env.audit()["jobs"], 1);
}

#[test]
fn a_restore_that_is_killed_leaves_one_of_the_two_databases_whole() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let saved = backup(&env, "one.db");
    sell(&server);
    assert!(server.stop());
    let folder = env.file().parent().unwrap().to_owned();
    let jobs = |env: &TestEnv| {
        // The next program completes what has begun.
        ok(&env.run(&["migrate"]));
        env.audit()["jobs"].as_u64().unwrap()
    };
    // Each part of a name appears later than the one before it.
    for part in ["-lock", ".restoring-", "-restore", ".before-restore-"] {
        for _ in 0..3 {
            let known = names(&folder, part).len();
            let mut restore = env
                .tithe()
                .args(["restore", &saved])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while names(&folder, part).len() == known && restore.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ended = restore.kill();
            restore.wait().unwrap();
            let found = jobs(&env);
            assert!(found == 1 || found == 2, "{part}: {found}");
        }
    }
    ok(&env.run(&["restore", &saved]));
    assert_eq!(jobs(&env), 1);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_said() {
    let env = TestEnv::sqlite();
    refused(&env.run(&["backup", "b.db"]), &["no database at"]);
    let mut server = env.start();
    assert!(server.stop());
    let saved = backup(&env, "b.db");
    refused(&env.run(&["backup", &saved]), &["exists", "--force"]);
    ok(&env.run(&["backup", &saved, "--force"]));
    refused(&env.run(&["backup", "missing/b.db"]), &["no backup was made", "missing/b.db"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = files(&env);
    refused(&env.run(&["restore", "nothing.db"]), &["no backup at nothing.db"]);
    fs::write(env.path().join("text.db"), "a text that is no database").unwrap();
    refused(&env.run(&["restore", "text.db"]), &["text.db is not a SQLite database"]);
    let other = env.path().join("other.db");
    let mut database = SqliteConnection::establish(other.to_str().unwrap()).unwrap();
    database.batch_execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)").unwrap();
    drop(database);
    refused(&env.run(&["restore", "other.db"]), &["other.db is not a database of tithe"]);
    refused(&env.run(&["restore", env.file().to_str().unwrap()]), &["is the database itself"]);
    let newer = env.path().join("newer.db");
    fs::copy(&saved, &newer).unwrap();
    let mut database = SqliteConnection::establish(newer.to_str().unwrap()).unwrap();
    database
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')")
        .unwrap();
    drop(database);
    refused(
        &env.run(&["restore", "newer.db"]),
        &["newer version of tithe", "does not know 1 of its migrations"],
    );
    let mut bytes = fs::read(&saved).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(env.path().join("corrupt.db"), bytes).unwrap();
    refused(&env.run(&["restore", "corrupt.db"]), &["the backup corrupt.db is corrupt"]);
    assert!(files(&env) == before, "a refused restore has changed something");
    let mut command = env.tithe();
    let postgres = command.args(["backup", "b.db"]).env("DATABASE_URL", "postgres://tithe@127.0.0.1:1/tithe");
    refused(&postgres.output().unwrap(), &["`tithe backup` is for SQLite", "pg_dump"]);
    let json = env.run(&["restore", &saved, "--json"]);
    let json: Value = serde_json::from_str(&text(&json.stdout)).unwrap();
    assert_eq!(
        (&json["sound"], &json["transfers"]),
        (&Value::from(true), &env.audit()["transfers"]),
        "{json}"
    );
}

#[cfg(unix)]
#[test]
fn a_backup_never_replaces_a_database_in_use_nor_a_file_of_its_own() {
    use std::os::unix::fs::MetadataExt as _;
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let file = env.file();
    let before = fs::metadata(&file).unwrap().ino();
    let at = |name: &str| env.path().join(name).to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(&file, at("symlink.db")).unwrap();
    std::os::unix::fs::symlink(file.parent().unwrap(), at("folder")).unwrap();
    fs::hard_link(&file, at("hard.db")).unwrap();
    let mut own = vec![at("symlink.db"), at("folder/tithe.db"), at("folder/tithe.db-restore"), at("hard.db")];
    own.extend(
        ["", "-wal", "-shm", "-journal", "-lock", "-restore"].map(|end| format!("{}{end}", file.display())),
    );
    own.push(format!("tithe-data/../{}", file.strip_prefix(env.path()).unwrap().display()));
    for path in &own {
        for options in [&["--force"][..], &[]] {
            refused(&env.run(&[&["backup", path], options].concat()), &["belongs to the database", path]);
        }
    }
    // The database of another server, and what is left of it when it is killed.
    let other = TestEnv::sqlite();
    let mut second = other.start();
    sell(&second);
    let theirs = other.file();
    let path = theirs.to_str().unwrap();
    refused(&env.run(&["backup", "--force", path]), &["is a database in use", path]);
    second.kill();
    refused(&env.run(&["backup", "--force", path]), &["was not closed properly", path]);
    second.restart().unwrap();
    assert_eq!(other.audit()["jobs"], 1);
    assert!(second.stop());
    // Nobody's database is replaced on request.
    ok(&env.run(&["backup", "--force", path, "--audit"]));
    sell(&server);
    assert!(server.stop());
    assert_eq!(fs::metadata(&file).unwrap().ino(), before);
    assert_eq!(env.audit()["jobs"], 2);
}

#[test]
fn a_database_is_checked_once_at_the_start() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    server.kill();
    // Whoever reads meanwhile keeps the log from being removed, as the check of a large database does.
    let mut reader = SqliteConnection::establish(env.file().to_str().unwrap()).unwrap();
    reader.batch_execute("BEGIN; SELECT COUNT(*) FROM sqlite_master").unwrap();
    server.restart().unwrap();
    let log = fs::read_to_string(env.path().join("server.log")).unwrap();
    assert_eq!(log.matches("the database was not closed properly").count(), 1, "{log}");
    assert_eq!(log.matches("the database is whole").count(), 1, "{log}");
}

#[test]
fn secrets_are_put_back_before_a_waiting_server_may_start() {
    let env = TestEnv::sqlite();
    let mut server = env.start();
    sell(&server);
    let saved = env.path().join("all.db");
    let saved = saved.to_str().unwrap();
    ok(&env.run(&["backup", saved, "--with-secrets"]));
    sell(&server);
    assert!(server.stop());
    let secret = env.path().join("tithe-data/token.secret");
    let bytes = fs::read(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    // Without the secrets, the database is not replaced.
    fs::create_dir(&secret).unwrap();
    refused(&env.run(&["restore", saved]), &["nothing was restored: cannot put back the secrets"]);
    assert_eq!(env.audit()["jobs"], 2);
    fs::remove_dir(&secret).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // As root restores the data of a service. Others cannot give files away.
        let folder = secret.parent().unwrap();
        let _not_root = std::os::unix::fs::chown(folder, Some(4_242), Some(4_242));
        ok(&env.run(&["restore", saved]));
        let owner = |path: &Path| (fs::metadata(path).unwrap().uid(), fs::metadata(path).unwrap().gid());
        assert_eq!(owner(&secret), owner(folder));
        assert_eq!(owner(&env.file()), owner(folder));
        // So does a data directory that is made.
        fs::remove_dir_all(folder).unwrap();
        let _not_root = std::os::unix::fs::chown(env.path(), Some(4_243), Some(4_243));
        ok(&env.run(&["restore", saved]));
        for path in [folder, &secret, &env.file()] {
            assert_eq!(owner(path), owner(env.path()), "{}", path.display());
        }
    }
    assert_eq!(fs::read(&secret).unwrap(), bytes);
    assert_eq!(env.audit()["jobs"], 1);
}

#[test]
fn a_dump_of_postgres_is_restored_as_the_chapter_says() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    cluster.create_database("tithe").unwrap();
    let (url, restored) = (cluster.url("tithe"), cluster.url("tithe_restored"));
    let env = TestEnv::sqlite();
    let mut server = Server::start(env.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &url)]);
    sell(&server);
    let programs = cluster.bin().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let folder = env.path().join("backups");
    let program = Path::new(env!("CARGO_BIN_EXE_tithe")).parent().unwrap();
    let path = format!("{}:{path}", program.display());
    let variables = [
        ("BACKUPS", folder.to_str().unwrap()),
        ("DATABASE_URL", &url),
        ("RESTORED_URL", &restored),
        ("PATH", &path),
    ];
    ok(&run_procedure(env.path(), "back-up-postgres", &variables));
    sell(&server);
    assert!(server.stop());
    let told = ok(&run_procedure(env.path(), "restore-postgres", &variables));
    assert!(told.contains("sound: every sat is accounted for"), "{told}");
    assert_eq!(told.matches("LOST: payment ").count(), 2, "{told}");
    let server = Server::start(env.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &restored)]);
    sell(&server);
}

/// A PostgreSQL server that a procedure has started.
struct Started<'a> {
    cluster: &'a Cluster,
    data: PathBuf,
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let stop = format!(
            "{}/pg_ctl stop -m immediate -w -D {}",
            self.cluster.bin().display(),
            self.data.display()
        );
        let _stopped = as_postgres(self.cluster, &stop, &[]).output();
    }
}

/// A shell of the user that runs the cluster.
fn as_postgres(cluster: &Cluster, script: &str, variables: &[(&str, &str)]) -> Command {
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    let words: &[&str] = if is_root { &["runuser", "-u", "postgres", "--"] } else { &[] };
    let mut words = words.iter().copied().chain(["sh", "-euc", script]);
    let mut command = Command::new(words.next().unwrap());
    let path = format!("{}:{}", cluster.bin().display(), std::env::var("PATH").unwrap());
    command.args(words).current_dir(cluster.folder()).env("PATH", path).envs(variables.iter().copied());
    command.stdin(Stdio::null());
    command
}

/// What a statement says.
fn queried(url: &str, statement: &str) -> String {
    crate::refunds::block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let said: String = client.query_one(statement, &[]).await.unwrap().get(0);
        drop(client);
        driver.await.unwrap().unwrap();
        said
    })
}

#[test]
fn a_moment_is_restored_from_the_archive_as_the_chapter_says() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    cluster.create_database("tithe").unwrap();
    let (admin, url) = (cluster.url("postgres"), cluster.url("tithe"));
    let at = |name: &str| cluster.folder().join(name).to_str().unwrap().to_owned();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (archive, base, restored, data) = (at("archive"), at("base"), at("restored"), at("data"));
    let mut variables = vec![
        ("ADMIN_URL", admin.as_str()),
        ("PGDATA", &data),
        ("ARCHIVE", &archive),
        ("BASE", &base),
        ("RESTORED", &restored),
        ("PORT", &port),
    ];
    let run = |name: &str, variables: &[(&str, &str)]| {
        let log = at(&format!("{name}.out"));
        // What it starts keeps the output open.
        let script = format!("{{ {}\n}} > {log} 2>&1", procedure(name));
        let done = as_postgres(&cluster, &script, variables).status().unwrap();
        assert!(done.success(), "{name}: {}", fs::read_to_string(&log).unwrap());
    };
    run("archive-postgres", &variables);
    let env = TestEnv::sqlite();
    let mut server = Server::start(env.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &url)]);
    sell(&server);
    run("base-backup-postgres", &variables);
    sell(&server);
    let moment = queried(&url, "SELECT clock_timestamp()::text");
    sell(&server);
    assert!(server.stop());
    let last = queried(&url, "SELECT pg_walfile_name(pg_switch_wal())");
    while queried(&url, "SELECT COALESCE(last_archived_wal, '') FROM pg_stat_archiver") < last {
        std::thread::yield_now();
    }
    variables.push(("MOMENT", &moment));
    let _stops = Started { cluster: &cluster, data: restored.clone().into() };
    run("restore-postgres-to-a-moment", &variables);
    let url = format!("postgres://postgres@127.0.0.1:{port}/tithe");
    while queried(&url, "SELECT pg_is_in_recovery()::text") == "true" {
        std::thread::yield_now();
    }
    let mut audit = env.tithe();
    let audited = audit.args(["audit", "--wallet"]).env("DATABASE_URL", &url).output().unwrap();
    let told = ok(&audited);
    assert!(told.contains(" 2 jobs") && told.contains("sound: every sat is accounted for"), "{told}");
    assert_eq!(told.matches("LOST: payment ").count(), 2, "{told}");
    let server = Server::start(env.path(), &[("TITHE_DEV", "1"), ("DATABASE_URL", &url)]);
    sell(&server);
}
