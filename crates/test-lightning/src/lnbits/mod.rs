//! A real LNbits over a node.

mod error;
mod install;
mod setup;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::symlink;
use std::sync::{Mutex, PoisonError};

use tithe_clock::{Entropy, SystemEntropy};
use tokio::net::TcpSocket;
use tokio::task::spawn_blocking;

pub use error::LnbitsError;
pub use setup::LnbitsWallet;

use crate::PhoenixdApi;
use crate::guardian::Guardian;
use error::{Doing, log_tail};
use install::Installed;
use setup::Setup;

/// A real LNbits 1.6.2 that moves its money through a [`PhoenixdApi`], with one wallet.
///
/// It is installed once, below Cargo's target folder (`target/lnbits`), which takes a minute or two. It stops when it is
/// dropped, and also when this process is killed.
pub struct LnbitsServer {
    guardian: Mutex<Guardian>,
    setup: Setup,
    wallet: LnbitsWallet,
    /// Keeps the port from being given to somebody else while LNbits is not there.
    _reserved: TcpSocket,
}

impl LnbitsServer {
    /// Starts LNbits on a free loopback port, and creates a wallet. It takes 5 seconds once LNbits is installed.
    pub async fn start(phoenixd: &PhoenixdApi) -> Result<Self, LnbitsError> {
        let installed = blocking(install::install).await?;
        let (reserved, port) = reserve().doing("reserving a loopback port")?;
        let variables = variables(phoenixd, port);
        let guardian = blocking(move || run(&installed, port, &variables)).await?;
        let setup = Setup::at(port);
        setup.wait(&guardian.folder().join("log")).await?;
        let wallet = setup.first_wallet().await?;
        Ok(Self { guardian: Mutex::new(guardian), setup, wallet, _reserved: reserved })
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        self.setup.url()
    }

    /// The wallet that was created.
    #[must_use]
    pub const fn wallet(&self) -> &LnbitsWallet {
        &self.wallet
    }

    /// Creates another wallet.
    pub async fn wallet_create(&self, name: &str) -> Result<LnbitsWallet, LnbitsError> {
        self.setup.wallet_create(name).await
    }

    /// Kills LNbits. Connections are refused from now on.
    pub fn stop(&self) -> Result<(), LnbitsError> {
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner).stop_command().doing("stopping LNbits")
    }

    /// Starts a stopped LNbits again, on the same port and with the same wallets.
    pub async fn start_again(&self) -> Result<(), LnbitsError> {
        let log = {
            let mut guardian = self.guardian.lock().unwrap_or_else(PoisonError::into_inner);
            guardian.start_command().doing("starting LNbits")?;
            guardian.folder().join("log")
        };
        self.setup.wait(&log).await
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(&self.guardian.lock().unwrap_or_else(PoisonError::into_inner).folder().join("log"))
    }
}

impl fmt::Debug for LnbitsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LnbitsServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LnbitsError> + Send + 'static,
) -> Result<T, LnbitsError> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| LnbitsError::Io { doing: "waiting for a thread", source: io::Error::other(error) })?
}

/// A port that is ours although nobody listens there. LNbits can listen there all the same.
fn reserve() -> io::Result<(TcpSocket, u16)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

fn run(installed: &Installed, port: u16, variables: &[(&str, OsString)]) -> Result<Guardian, LnbitsError> {
    let folder = tempfile::Builder::new().prefix("tithe-lnbits-").tempdir().doing("making a folder")?;
    // LNbits looks for its static files below the current folder.
    symlink(&installed.package, folder.path().join("lnbits")).doing("linking LNbits' files")?;
    let port = port.to_string();
    let arguments = ["lnbits.__main__:app", "--host", "127.0.0.1", "--port", &port, "--no-access-log"];
    // Not the program `lnbits`, which starts a child that outlives it.
    let command: Vec<OsString> =
        [installed.uvicorn.clone().into()].into_iter().chain(arguments.map(OsString::from)).collect();
    let mut guardian = Guardian::start(folder.keep(), &command, variables).doing("starting /bin/sh")?;
    guardian.start_command().doing("starting LNbits")?;
    Ok(guardian)
}

fn variables(phoenixd: &PhoenixdApi, port: u16) -> Vec<(&'static str, OsString)> {
    let entropy: &dyn Entropy = &SystemEntropy;
    let mut variables: Vec<(&str, OsString)> = vec![
        ("LNBITS_DATA_FOLDER", "data".into()),
        ("LNBITS_EXTENSIONS_PATH", "extensions".into()),
        ("LNBITS_ADMIN_UI", "true".into()),
        ("HOST", "127.0.0.1".into()),
        ("PORT", port.to_string().into()),
        ("AUTH_SECRET_KEY", hex::encode(entropy.bytes::<32>()).into()),
        ("LNBITS_BACKEND_WALLET_CLASS", "PhoenixdWallet".into()),
        ("PHOENIXD_API_ENDPOINT", phoenixd.url().into()),
        ("PHOENIXD_API_PASSWORD", phoenixd.password().into()),
        // Tests send more requests than users do.
        ("LNBITS_RATE_LIMIT_NO", "1000000".into()),
        // Nothing is fetched from the internet.
        ("LNBITS_EXTENSIONS_MANIFESTS", "[]".into()),
        ("LNBITS_WASM_EXTENSIONS_MANIFESTS", "[]".into()),
        ("LNBITS_PRICE_AGGREGATOR_ENABLED", "false".into()),
        ("LNBITS_EXCHANGE_RATE_PROVIDERS", "[]".into()),
        // Webhooks may go to this machine.
        ("LNBITS_CALLBACK_URL_RULES", r#"["http://127.0.0.1(:\\d+)?"]"#.into()),
        ("LNBITS_CALLBACK_ALLOW_PRIVATE_IPS", "true".into()),
    ];
    let inherited = ["PATH", "HOME", "LANG", "TMPDIR"];
    variables.extend(inherited.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    variables
}
