//! The operator's own program, which can make anything.
//!
//! # The contract
//!
//! The program runs once for each call, with the configured arguments and without a shell. Its standard input is one JSON document:
//!
//! ```json
//! {
//!   "action": "create",
//!   "order": {
//!     "id": "6f2c1d1e-7a55-4c11-9d0c-0d6f6f5ad0a1",
//!     "plan": "small",
//!     "sshPublicKey": "ssh-ed25519 AAAA…",
//!     "rootPassword": null
//!   }
//! }
//! ```
//!
//! `action` is `create`, `find` or `destroy`. An order has either `sshPublicKey` or `rootPassword`; the other one is `null`.
//! Whatever the program makes must carry the order's id, so that `find` and `destroy` work after a crash of the server or of the
//! program. `find` must not make anything; `destroy` may be called again for a node that is gone.
//!
//! Its standard output is one JSON document of at most 64 KiB:
//!
//! | output | meaning | for |
//! | --- | --- | --- |
//! | `{"state":"ready","host":"…","credentials":{"name":"value"}}` | the node can be used; the customer is shown the credentials | create, find |
//! | `{"state":"pending"}` | the node is being made; `find` is called later | create, find |
//! | `{"state":"failed","reason":"…"}` | the node could not be made, and is not being made any more; the reason is for the log | create, find |
//! | `{"state":"none"}` | there is no such node | find, destroy |
//! | `{"state":"destroyed"}` | the node is gone, or is going | destroy |
//!
//! Its exit code (the names are those of `sysexits.h`):
//!
//! | exit code | on create | on find and destroy |
//! | --- | --- | --- |
//! | 0 | as the output says | as the output says |
//! | 75 (`EX_TEMPFAIL`) | **certainly** nothing was made; create is called again later | an error; nothing follows |
//! | 64 to 78 but 75, such as 64 (`EX_USAGE`) or 78 (`EX_CONFIG`) | **certainly** nothing was made or will be; the customer is refunded | an error; nothing follows |
//! | any other, a signal, the time limit, or any other output | it is not known; `find` is called | an error; nothing follows |
//!
//! If the program cannot be started, nothing was made, and create is called again later.
//!
//! **The time limit.** A program that is still running at [`CommandSettings::time_limit`] is killed (`SIGKILL`), with every process
//! of its process group. A call ends when the program has ended *and* its output is closed, so a process that is left in the
//! background must not keep the output open.
//!
//! **The environment** is empty but for `PATH`, `HOME`, `LANG`, `TMPDIR` and the variables whose names begin with
//! `TITHE_PROVISION_`, where API tokens belong.
//!
//! **Standard error** goes to the server's log: its length and its first 500 printable characters, with `***` instead of the order's
//! password and of the values of the `TITHE_PROVISION_` variables that have at least 8 bytes.
//!
//! # An example
//!
//! Each node is an Incus container, named after the order:
//!
//! ```sh
//! #!/bin/sh
//! # Requires incus and jq. `set -e`: when a command fails, so does the script, with the command's exit code. For both that is 1, which says
//! # "not known". Write `|| exit 1` after a command that may exit with one of the codes above, as curl does.
//! set -eu
//! request=$(cat)
//! field() { printf '%s' "$request" | jq -r "$1"; }
//! name=tithe-$(field .order.id)
//! found=$(incus list --format csv --columns n "^$name\$")
//!
//! case $(field .action) in
//! create)
//!     [ "$(field .order.plan)" = small ] || exit 78
//!     # Two calls for one order make one container: its name is taken.
//!     [ -n "$found" ] || printf '%s' "$request" | jq '.order | {config: {"cloud-init.user-data": ("#cloud-config\n" + (
//!         if .sshPublicKey then {disable_root: false, users: [{name: "root", ssh_authorized_keys: [.sshPublicKey]}]}
//!         else {disable_root: false, ssh_pwauth: true,
//!               chpasswd: {expire: false, users: [{name: "root", password: .rootPassword, type: "text"}]}}
//!         end + {packages: ["openssh-server"]} | tojson))}}' | incus launch images:debian/13/cloud "$name" >&2
//!     ;;
//! find)
//!     [ -n "$found" ] || { echo '{"state":"none"}'; exit; }
//!     ;;
//! destroy)
//!     [ -n "$found" ] || { echo '{"state":"none"}'; exit; }
//!     incus delete --force "$name" >&2
//!     echo '{"state":"destroyed"}'
//!     exit
//!     ;;
//! esac
//!
//! address=$(incus list --format csv --columns 4 "^$name\$")
//! [ -n "$address" ] || { echo '{"state":"pending"}'; exit; }
//! printf '%s' "$request" | jq --arg host "${address%% *}" '{state: "ready", host: $host, credentials: ({user: "root"} +
//!     if .order.rootPassword then {password: .order.rootPassword} else {sshKey: "your own"} end)}'
//! ```

mod process;
mod reply;

use crate::excerpt;
use process::{Diagnostics, RunError};
use reply::Reply;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use tithe_bootstrap::{CreateError, Destroyed, LookupError, Order, Progress, Provisioner, RootPassword};
use tokio::process::Command;

/// The variables of the server's environment that the program gets, besides those that begin with [`VARIABLE_PREFIX`].
const VARIABLES: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// How the names of the variables begin that are meant for the program.
const VARIABLE_PREFIX: &str = "TITHE_PROVISION_";

/// The shortest value of such a variable that is hidden in the log: shorter ones are no secrets, but words that occur in any text.
const SECRET_BYTES_MIN: usize = 8;

/// `EX_TEMPFAIL` of `sysexits.h`.
const EX_TEMPFAIL: i32 = 75;

/// How the program is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// The program. A name without a slash is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments. They are visible to every user of the machine, so secrets belong in the environment instead.
    pub arguments: Vec<OsString>,
    /// The time limit of one call. Default: 2 minutes.
    pub time_limit: Duration,
}

impl CommandSettings {
    /// Settings with the defaults, without arguments.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), time_limit: Duration::from_mins(2) }
    }
}

/// The provisioner that runs the operator's program, by the [contract](crate::command) of this module.
pub struct CommandProvisioner {
    settings: CommandSettings,
    environment: Vec<(OsString, OsString)>,
}

impl fmt::Debug for CommandProvisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("CommandProvisioner")
            .field("settings", &self.settings)
            .field("environment", &names)
            .finish()
    }
}

/// What the program is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Create,
    Find,
    Destroy,
}

/// The program's input.
#[derive(Serialize)]
struct Request<'a> {
    action: Action,
    order: &'a Order,
}

/// The reason why a call has no reply.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the provisioning program ended with {0}")]
    Exit(ExitStatus),
    #[error("invalid output of the provisioning program: {0}")]
    Output(String),
}

impl CommandProvisioner {
    /// A provisioner that runs a program. `environment` is the server's environment ([`std::env::vars_os`]), of which the program
    /// gets only the documented part.
    #[must_use]
    pub fn new(
        settings: CommandSettings,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let is_passed = |name: &OsString| {
            name.to_str().is_some_and(|name| VARIABLES.contains(&name) || name.starts_with(VARIABLE_PREFIX))
        };
        let environment = environment.into_iter().filter(|(name, _)| is_passed(name)).collect();
        Self { settings, environment }
    }

    /// Runs the program. Its standard error is logged, however the call ends.
    async fn call(&self, action: Action, order: &Order) -> Result<Reply, CallError> {
        let input = serde_json::to_vec(&Request { action, order })
            .map_err(|error| CallError::Output(error.to_string()))?;
        let mut command = Command::new(&self.settings.program);
        command.args(&self.settings.arguments).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut diagnostics = Diagnostics::default();
        let finished = process::run(command, &input, self.settings.time_limit, &mut diagnostics).await;
        let reply = finished.map_err(CallError::Run).and_then(|finished| {
            if !finished.status.success() {
                return Err(CallError::Exit(finished.status));
            }
            reply::parse(&finished.output).map_err(CallError::Output)
        });
        if diagnostics.bytes > 0 {
            let stderr = excerpt::of(&diagnostics.beginning(), &self.secrets(order));
            let (id, bytes) = (order.id, diagnostics.bytes);
            if reply.is_err() {
                tracing::warn!(bootstrap_id = %id, action = ?action, bytes, stderr, "the provisioning program failed");
            } else {
                tracing::debug!(bootstrap_id = %id, action = ?action, bytes, stderr, "the provisioning program wrote to standard error");
            }
        }
        reply
    }

    /// What must not appear in the log.
    fn secrets<'a>(&'a self, order: &'a Order) -> Vec<&'a str> {
        let is_secret = |(name, value): &(&str, &str)| {
            name.starts_with(VARIABLE_PREFIX) && value.len() >= SECRET_BYTES_MIN
        };
        let variables =
            self.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        let values = variables.filter(is_secret).map(|(_, value)| value);
        order.root_password.as_ref().map(RootPassword::reveal).into_iter().chain(values).collect()
    }

    /// What a reply says of a node; `None` if it is no such reply.
    fn progress(&self, reply: Reply, order: &Order) -> Option<Progress> {
        match reply {
            Reply::Ready(node) => Some(Progress::Ready(node)),
            Reply::Pending => Some(Progress::Pending),
            Reply::Failed { reason } => {
                Some(Progress::Failed { reason: excerpt::of(&reason, &self.secrets(order)) })
            }
            Reply::None | Reply::Destroyed => None,
        }
    }
}

#[async_trait::async_trait]
impl Provisioner for CommandProvisioner {
    fn name(&self) -> &'static str {
        "command"
    }

    /// Whether the program can be started, as far as its file shows.
    async fn check(&self) -> Result<(), LookupError> {
        let program = &self.settings.program;
        let path = self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        let folders: Vec<PathBuf> = if program.components().count() > 1 {
            vec![PathBuf::new()]
        } else {
            path.iter().flat_map(std::env::split_paths).collect()
        };
        let is_program = |file: PathBuf| {
            std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        if folders.iter().any(|folder| is_program(folder.join(program))) {
            return Ok(());
        }
        Err(LookupError { reason: format!("there is no executable program {}", program.display()) })
    }

    async fn create(&self, order: &Order) -> Result<Progress, CreateError> {
        let reply = self.call(Action::Create, order).await?;
        let state = reply.state();
        self.progress(reply, order)
            .ok_or_else(|| CreateError::Unknown { reason: unexpected(state, "ready, pending or failed") })
    }

    async fn find(&self, order: &Order) -> Result<Option<Progress>, LookupError> {
        let reply = self.call(Action::Find, order).await?;
        let state = reply.state();
        if matches!(reply, Reply::None) {
            return Ok(None);
        }
        let progress = self.progress(reply, order);
        let expected = "ready, pending, failed or none";
        progress.map(Some).ok_or_else(|| LookupError { reason: unexpected(state, expected) })
    }

    async fn destroy(&self, order: &Order) -> Result<Destroyed, LookupError> {
        match self.call(Action::Destroy, order).await? {
            Reply::Destroyed => Ok(Destroyed::Now),
            Reply::None => Ok(Destroyed::NotFound),
            other => Err(LookupError { reason: unexpected(other.state(), "destroyed or none") }),
        }
    }
}

impl From<CallError> for CreateError {
    fn from(error: CallError) -> Self {
        let reason = excerpt::with_causes(&error);
        match error {
            CallError::Run(RunError::NotStarted(_)) => Self::Unavailable { reason, retry_after: None },
            CallError::Exit(status) => match status.code() {
                Some(EX_TEMPFAIL) => Self::Unavailable { reason, retry_after: None },
                Some(64..=78) => Self::Refused { reason },
                _ => Self::Unknown { reason },
            },
            CallError::Run(_) | CallError::Output(_) => Self::Unknown { reason },
        }
    }
}

impl From<CallError> for LookupError {
    fn from(error: CallError) -> Self {
        Self { reason: excerpt::with_causes(&error) }
    }
}

fn unexpected(state: &str, expected: &str) -> String {
    format!("invalid output of the provisioning program: expected the state {expected}, got {state}")
}
