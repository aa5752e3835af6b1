//! TLS to the database.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How the server's identity is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Any server is accepted (libpq's `prefer` and `require`): this prevents eavesdropping, not impersonation.
    Nothing,
    /// The server's certificate must be signed by one of these certificates, or of the system's, and match the host
    /// name.
    Full {
        /// A file of certificates.
        roots: Option<PathBuf>,
    },
}

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct TlsError {
    what: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TlsError {
    fn new(what: String, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what, cause: Some(cause.into()) }
    }
}

pub(crate) fn connector(verify: &Verify) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| TlsError::new("TLS cannot be set up".to_owned(), cause))?;
    let config = match verify {
        Verify::Nothing => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnyone(provider)))
            .with_no_client_auth(),
        Verify::Full { roots } => {
            builder.with_root_certificates(trusted(roots.as_deref())?).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(path) = file else {
        let system = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(system.certs);
        if store.is_empty() {
            let what = "this machine has no certificates to check the database's against; name a file with sslrootcert";
            return Err(TlsError { what: what.to_owned(), cause: None });
        }
        return Ok(store);
    };
    let what = || format!("the certificates in {} (sslrootcert) cannot be used", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|cause| TlsError::new(what(), cause))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|cause| TlsError::new(what(), cause))?;
        store.add(certificate).map_err(|cause| TlsError::new(what(), cause))?;
    }
    if store.is_empty() {
        return Err(TlsError::new(what(), "there is none in it"));
    }
    Ok(store)
}

/// Accepts any certificate, as libpq does unless it is asked to verify. The handshake's signatures are still checked.
#[derive(Debug)]
struct TrustsAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
