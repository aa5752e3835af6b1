//! Test helpers for installs.

use super::{Answer, TestApp};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tithe_clock::{SeededEntropy, Timestamp};
use tithe_ledger::credits::Plan;
use tithe_licences::{Licence, LicenceId, SigningKey};
use uuid::Uuid;

/// The id of a numbered install.
pub(crate) fn install(number: u128) -> String {
    Uuid::from_u128(0x0b8e_1a3c_6d2f_4f57_9a51_0000_0000_0000 + number).to_string()
}

/// A numbered key that signs licences.
pub(crate) fn licence_key(number: u64) -> SigningKey {
    SigningKey::random(&SeededEntropy::new(number))
}

/// A licence that is valid between two times.
pub(crate) fn licence(
    key: &SigningKey,
    install: &str,
    plan: Plan,
    (issued_at, expires_at): (Timestamp, Timestamp),
) -> (LicenceId, String) {
    let id = LicenceId::random(&tithe_clock::SystemEntropy);
    let install = install.parse().unwrap();
    let token = Licence { id, install, plan, issued_at, expires_at, key: key.id() }.sign(key).unwrap();
    (id, token)
}

impl TestApp {
    /// A plain request.
    pub(crate) fn asking(&self, text: &str) -> RequestBuilder {
        let body = json!({ "request": text, "maxOutputTokens": 100 }).to_string();
        self.request(Method::POST, "/api/ask").body(body)
    }

    /// Sends a plain request of an install.
    pub(crate) async fn ask_of(&self, install: &str, text: &str) -> Answer {
        self.send(self.asking(text).header("X-Install-Id", install)).await
    }

    /// The credits of an install without a licence.
    pub(crate) async fn credits(&self, install: &str) -> Value {
        let request = self.request(Method::GET, "/api/credits").header("X-Install-Id", install);
        self.send(request).await.ok(200)
    }

    /// How many credits an install has reserved and consumed, over all its quotas.
    pub(crate) async fn credits_taken(&self, install: &str) -> (u64, u64) {
        let (engine, id) = (self.engine.clone(), install.parse().unwrap());
        let found = self.on_runtime(async move { engine.credits.install(id).await.unwrap() }).await;
        found.map_or((0, 0), |install| {
            let counters = [install.lifetime, install.monthly];
            (counters.iter().map(|c| c.reserved).sum(), counters.iter().map(|c| c.consumed).sum())
        })
    }
}
