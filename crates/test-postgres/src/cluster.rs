use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ClusterError;
use crate::error::Doing;
use crate::guardian::Guardian;
use crate::programs;
use crate::run_as::RunAs;

/// Below the ports that systems give to outgoing connections: one of those could take a stopped cluster's port.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// The number of attempts to find a free port.
const PORT_TRIES: u32 = 50;

/// The number of log lines to show.
const TAIL: usize = 40;

/// The certificate of a cluster and its key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, with its chain if it has one.
    pub certificate_pem: String,
    /// The certificate's private key.
    pub key_pem: String,
}

/// The settings of a cluster.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Whether commits survive a crash of the machine, which takes time: PostgreSQL's own settings, on a disk. Without
    /// it the cluster is in memory where there is room (`/dev/shm`; a set `TMPDIR` wins), and a crash of the server
    /// loses the last moment's commits.
    pub durable: bool,
    /// With these, connections over TCP must use TLS.
    pub tls: Option<TlsFiles>,
    /// Further settings (`postgresql.conf`), which win over the cluster's own.
    pub settings: Vec<(String, String)>,
    /// Whether the port is in no file of the cluster's, so that a copy of its files runs on another port; and whether its commits survive
    /// a crash of the server. It then has no Unix socket.
    pub replicated: bool,
    /// The folder of the server's programs. Without it they are looked for: `TITHE_TEST_POSTGRES_BIN`, then where systems install them.
    pub programs: Option<PathBuf>,
}

impl ClusterOptions {
    /// What suits a server that many tests share: quick, and without vacuum workers that visit each one's database.
    #[must_use]
    pub fn shared() -> Self {
        Self { settings: vec![("autovacuum".to_owned(), "off".to_owned())], ..Self::default() }
    }
}

/// A PostgreSQL server of its own in a temporary folder: on 127.0.0.1 only, with one superuser, `postgres`, who needs
/// no password.
///
/// Dropping it stops it and removes its folder. So does a small process beside ours when ours ends without dropping it:
/// killed, aborted, or with the cluster in a static.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    run_as: RunAs,
    options: ClusterOptions,
    port: u16,
    guardian: Guardian,
}

impl Cluster {
    /// Starts a cluster and waits until it accepts connections, which takes half a second.
    pub fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let mut cluster = Self::empty(options)?;
        cluster.initialize()?;
        cluster.configure_access()?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// A cluster without any files yet, and a free port for it: [`Self::shell`] makes them, from another cluster's.
    pub fn empty(options: ClusterOptions) -> Result<Self, ClusterError> {
        let bin = options.programs.clone().map_or_else(programs::folder, Ok)?;
        let run_as = RunAs::choose()?;
        let folder = tempfile::Builder::new()
            .prefix("tithe-postgres-")
            .tempdir_in(run_as.base(options.durable))
            .doing("making a folder for a cluster")?;
        let guardian = Guardian::start(folder.path(), stop_command(&run_as, &bin, folder.path()))
            .doing("starting /bin/sh to clean up after the cluster")?;
        let port = free_port()?;
        let cluster = Self { bin, folder: folder.keep(), run_as, options, port, guardian };
        cluster.run_as.hand_over(&cluster.folder, 0o700)?;
        Ok(cluster)
    }

    /// Runs a script as an administrator of this cluster would on its machine, and returns what it prints: as the server's user, with
    /// the server's programs in `PATH`, and `PGDATA`, `PGPORT`, `PGHOST` and `PGUSER` of this cluster.
    pub fn shell(&self, script: &str, variables: &[(&str, &str)]) -> Result<String, ClusterError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.bin.clone()].into_iter().chain(env::split_paths(&path)));
        let path = path.map_err(io::Error::other).doing("joining the PATH")?;
        let mut command =
            self.command(Path::new("/bin/bash"), ["-euo", "pipefail", "-c", script].map(OsStr::new));
        command
            .env("PATH", path)
            .env("PGDATA", self.data())
            .env("PGHOST", "127.0.0.1")
            .env("PGUSER", "postgres");
        command.envs(variables.iter().copied());
        self.output(command, "a script")
    }

    /// The URL of `database`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1, the same after a restart.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The folder of PostgreSQL's programs: psql, pgbench.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The cluster's own folder, which holds `data`, the log and the Unix socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Crashes the server and starts it again: it recovers all committed transactions.
    pub fn restart_immediate(&self) -> Result<(), ClusterError> {
        self.control(&["restart", "-m", "immediate"])
    }

    /// Crashes the server.
    pub fn stop_immediate(&self) -> Result<(), ClusterError> {
        self.control(&["stop", "-m", "immediate"])
    }

    /// Starts a stopped server on its previous port.
    pub fn start_again(&self) -> Result<(), ClusterError> {
        self.control(&["start"])
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> Result<(), ClusterError> {
        let port = self.port.to_string();
        // The socket: it needs no TLS.
        let host = if self.options.replicated { OsStr::new("127.0.0.1") } else { self.folder.as_os_str() };
        self.run(
            "createdb",
            [OsStr::new("-U"), "postgres".as_ref(), "-h".as_ref(), host, "-p".as_ref(), port.as_ref()]
                .into_iter()
                .chain(["--".as_ref(), name.as_ref()]),
        )
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(TAIL);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    fn data(&self) -> PathBuf {
        data(&self.folder)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn initialize(&self) -> Result<(), ClusterError> {
        let initialize = |locale: &str| {
            let folder = self.data();
            let options = [
                "-U",
                "postgres",
                "--encoding=UTF8",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
                locale,
                "-D",
            ];
            self.run("initdb", options.iter().map(OsStr::new).chain([folder.as_os_str()]))
        };
        // Not every system has C.UTF-8.
        initialize("--locale=C.UTF-8").or_else(|_| initialize("--locale=C"))
    }

    /// The client authentication settings and the certificate.
    fn configure_access(&self) -> Result<(), ClusterError> {
        let kind = if self.options.tls.is_some() { "hostssl" } else { "host" };
        let access = format!(
            "local all all trust\n{kind} all all 127.0.0.1/32 trust\n{kind} replication all 127.0.0.1/32 trust\n"
        );
        self.write("pg_hba.conf", &access)?;
        if let Some(tls) = &self.options.tls {
            self.write("server.crt", &tls.certificate_pem)?;
            self.write("server.key", &tls.key_pem)?;
        }
        Ok(())
    }

    fn start_on_free_port(&mut self) -> Result<(), ClusterError> {
        let path = self.data().join("postgresql.conf");
        let defaults = fs::read_to_string(&path).doing(format!("reading {}", path.display()))?;
        let mut tries = 0;
        loop {
            self.port = free_port()?;
            self.write("postgresql.conf", &(defaults.clone() + &self.settings()))?;
            let Err(error) = self.control(&["start"]) else { return Ok(()) };
            tries += 1;
            // Between our look at the port and the server's somebody may have taken it.
            if tries == PORT_TRIES || !self.log_tail().contains("could not bind") {
                return Err(error);
            }
            fs::remove_file(self.log()).doing("removing the log of a server whose port was taken")?;
        }
    }

    /// Our lines of `postgresql.conf`; of two that name the same setting, the last one counts.
    fn settings(&self) -> String {
        let options = &self.options;
        let port = self.port.to_string();
        let folder = self.folder.to_string_lossy();
        let mut settings =
            vec![("listen_addresses", "127.0.0.1"), ("max_connections", "300"), ("shared_buffers", "128MB")];
        if options.replicated {
            settings.extend([("unix_socket_directories", ""), ("fsync", "off")]);
        } else {
            settings.extend([("port", port.as_str()), ("unix_socket_directories", &folder)]);
        }
        if !options.durable && !options.replicated {
            settings.extend([("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")]);
        }
        if options.tls.is_some() {
            settings.extend([("ssl", "on"), ("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")]);
        }
        settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "''");
        settings
            .into_iter()
            .fold("\n".to_owned(), |lines, (name, value)| lines + &format!("{name} = '{}'\n", quoted(value)))
    }

    /// Writes a file of the data folder.
    fn write(&self, name: &str, text: &str) -> Result<(), ClusterError> {
        let path = self.data().join(name);
        fs::write(&path, text).doing(format!("writing {}", path.display()))?;
        self.run_as.hand_over(&path, 0o600)
    }

    /// `pg_ctl`, which returns when the server is up, or down.
    fn control(&self, arguments: &[&str]) -> Result<(), ClusterError> {
        let (data, log) = (self.data(), self.log());
        let options = ["-w", "-t", "60", "-D"].map(OsStr::new).into_iter();
        let options = options.chain([data.as_os_str(), OsStr::new("-l"), log.as_os_str()]);
        self.run("pg_ctl", arguments.iter().map(OsStr::new).chain(options))
    }

    fn run<'a>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<(), ClusterError> {
        self.output(self.command(&self.bin.join(program), arguments), program).map(drop)
    }

    fn command<'a>(&self, program: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) -> Command {
        let words = self.run_as.words(program);
        let mut command = Command::new(words.first().map_or(program.as_os_str(), OsString::as_os_str));
        command.args(words.iter().skip(1)).args(arguments).current_dir(&self.folder);
        // PGDATA, PGPORT, PGOPTIONS and their like are about other servers.
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if self.options.replicated {
            command.env("PGPORT", self.port.to_string());
        }
        command
    }

    fn output(&self, mut command: Command, program: &str) -> Result<String, ClusterError> {
        let output = self.guardian.hold().and_then(|hold| command.stdin(hold).output());
        let output = output.doing(format!("running {program}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(ClusterError::Failed {
            program: program.to_owned(),
            output: String::from_utf8_lossy(&said).trim().to_owned(),
            log: self.log_tail(),
        })
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn stop_command(run_as: &RunAs, bin: &Path, folder: &Path) -> Vec<OsString> {
    let mut words = run_as.words(&bin.join("pg_ctl"));
    words.extend(["stop", "-m", "immediate", "-w", "-t", "60", "-D"].map(OsString::from));
    words.push(data(folder).into());
    words
}

/// A port that is currently free.
fn free_port() -> Result<u16, ClusterError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let random = getrandom::u32().map_err(io::Error::other).doing("drawing a port")?;
        let offset = random % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last).doing("looking for a free port")
}
