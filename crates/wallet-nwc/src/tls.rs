//! TLS to the relays.

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use tokio_tungstenite::Connector;

/// The reason why TLS cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TlsError {
    /// There is nothing to check a relay's certificate against.
    #[error("this machine has no certificates to check the relay's against")]
    NoRoots,
    /// The library refused the settings.
    #[error("TLS cannot be set up: {0}")]
    Library(rustls::Error),
}

/// Connects by TLS, with the certificates of the system. They are read on first use.
#[derive(Default)]
pub(crate) struct Tls(OnceLock<Result<Arc<ClientConfig>, TlsError>>);

impl Tls {
    /// The connector for a relay with a `wss` URL.
    pub fn connector(&self) -> Result<Connector, TlsError> {
        self.0.get_or_init(config).clone().map(Connector::Rustls)
    }
}

fn config() -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
