//! TLS, as the URL asks for it.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_test_postgres::{Cluster, ClusterOptions, TlsFiles};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_verified_when_the_url_asks_for_it() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = TlsFiles { certificate_pem: cert.pem(), key_pem: signing_key.serialize_pem() };
    let cluster = Cluster::start(ClusterOptions { tls: Some(tls), ..ClusterOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("root.pem");
    std::fs::write(&trusted, cert.pem()).unwrap();
    let trusted = format!("sslrootcert={}", trusted.display());
    let connect = async |host: &str, query: &str| {
        let url = format!("postgres://postgres@{host}:{}/postgres?{query}", cluster.port());
        PostgresStore::migrate(&url, PostgresSettings::default()).await.map_err(|refused| {
            let mut told = refused.to_string();
            let mut cause = std::error::Error::source(&refused);
            while let Some(inner) = cause {
                told = format!("{told}: {inner}");
                cause = inner.source();
            }
            told
        })
    };
    // The cluster takes no connection without TLS.
    assert!(connect("localhost", "sslmode=disable").await.unwrap_err().contains("no encryption"));
    connect("localhost", "").await.unwrap();
    connect("localhost", "sslmode=require").await.unwrap();
    connect("localhost", &format!("sslmode=verify-full&{trusted}")).await.unwrap();
    // Signed by nobody whom this machine knows.
    let refused = connect("localhost", "sslmode=verify-full").await.unwrap_err();
    assert!(refused.contains("certificate") || refused.contains("UnknownIssuer"), "{refused}");
    // The right certificate on the wrong host.
    let refused = connect("127.0.0.1", &format!("sslmode=verify-full&{trusted}")).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    let refused = connect("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem").await.unwrap_err();
    assert!(refused.contains("/nowhere.pem"), "{refused}");
}
