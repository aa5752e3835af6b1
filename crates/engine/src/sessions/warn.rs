//! Warning the owners of sessions.

use super::service::Sessions;
use super::session_notified::SessionNotified;
use super::steps::account_of;
use super::webhooks::WebhookMessage;
use crate::error::EngineError;
use crate::error_chain::chain;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use tithe_sessions::{Session, SessionId, SessionKey};
use tracing::{info, warn};

/// How many warnings are read at once.
const PAGE: usize = 100;

/// To how many owners messages are sent at once: a host that does not respond delays the others little. Each owner is sent one at a time.
const SEND_PARALLEL: usize = 64;

/// What a warning is about.
enum Subject {
    Balance(Session),
    Key(SessionKey),
}

impl Subject {
    /// What the owner of the session is told about, when it is delivered.
    fn notified(&self) -> SessionNotified {
        match self {
            Self::Balance(session) => SessionNotified {
                session: session.id,
                key: None,
                level: session.warned.reached,
                occasion: session.warning_occasion(),
            },
            Self::Key(key) => SessionNotified {
                session: key.session,
                key: Some(key.id),
                level: key.warned.reached,
                occasion: key.warning_occasion(),
            },
        }
    }
}

impl Sessions {
    /// The secret with which the owner of a session checks its warnings; `None` if it has no webhook.
    #[must_use]
    pub fn webhook_secret(&self, session: &Session) -> Option<String> {
        session.webhook.as_ref().map(|_| self.webhook_secrets.secret(session.id))
    }

    /// Sends the warnings that are due. Several servers may send the same one: it has the same id.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub(crate) async fn warn_owners(&self) -> Result<(), EngineError> {
        let store = &self.core.ports.store;
        let mut due = HashSet::new();
        let mut after = None;
        loop {
            let sessions = store.sessions_to_warn(after, PAGE).await?;
            let Some(last) = sessions.last() else { break };
            after = Some(last.id);
            self.warn_each(sessions.into_iter().map(Subject::Balance), &mut due).await;
        }
        let mut after = None;
        loop {
            let keys = store.session_keys_to_warn(after, PAGE).await?;
            let Some(last) = keys.last() else { break };
            after = Some((last.session, last.id));
            self.warn_each(keys.into_iter().map(Subject::Key), &mut due).await;
        }
        self.undelivered.keep(&due);
        Ok(())
    }

    async fn warn_each(&self, subjects: impl Iterator<Item = Subject>, due: &mut HashSet<SessionId>) {
        let mut owners: BTreeMap<SessionId, Vec<Subject>> = BTreeMap::new();
        for subject in subjects {
            owners.entry(subject.notified().session).or_default().push(subject);
        }
        due.extend(owners.keys());
        stream::iter(owners)
            .for_each_concurrent(SEND_PARALLEL, |(session, subjects)| async move {
                for subject in subjects {
                    if self.undelivered.rests(session) {
                        break;
                    }
                    if let Err(failure) = self.warn(subject).await {
                        warn!(session_id = %session, error = chain(&failure), "the owner of a session could not be warned");
                        break;
                    }
                }
            })
            .await;
    }

    /// Sends one warning, unless it rests or is not due any more.
    async fn warn(&self, subject: Subject) -> Result<(), EngineError> {
        let told = subject.notified();
        let id = message_id(&told);
        if self.undelivered.message_rests(told.session, &id) {
            return Ok(());
        }
        let Some(session) = self.core.ports.store.session(told.session).await? else { return Ok(()) };
        let url = session.webhook.clone().filter(|_| session.end().is_none());
        let Some(url) = url else {
            // Nobody is to be told.
            self.core.committer.commit(told).await?;
            return Ok(());
        };
        let (name, data) = match &subject {
            // It was told by another server, or the session was topped up, since it was found.
            Subject::Balance(_) if message_id(&Subject::Balance(session.clone()).notified()) != id => {
                return Ok(());
            }
            Subject::Balance(_) if !session.warned.is_due() => return Ok(()),
            Subject::Balance(_) => ("session.balance.usage", self.balance_data(told.session).await?),
            Subject::Key(key) => ("session.key.usage", key_data(key)),
        };
        let sent_at = self.core.now();
        let mut body = json!({
            "type": name,
            "timestamp": sent_at.to_string(),
            "data": { "sessionId": told.session.to_string(), "usedPercent": told.level.percent() },
        });
        if let (Some(Value::Object(to)), Value::Object(more)) = (body.get_mut("data"), data) {
            to.extend(more);
        }
        let body = body.to_string();
        let signature = self.webhook_secrets.signature(told.session, &id, sent_at.unix_seconds(), &body);
        let signature = signature.ok_or(EngineError::Internal)?;
        let message = WebhookMessage { url, id: id.clone(), sent_at, signature, body };
        if let Err(failure) = self.core.ports.webhooks.send(&message).await {
            let last = self.undelivered.failed(told.session, &id);
            let session = told.session;
            warn!(session_id = %session, error = chain(&failure), last, "the owner of a session could not be warned");
            if !last {
                return Ok(());
            }
        } else {
            info!(session_id = %told.session, used_percent = told.level.percent(), "the owner of a session was warned");
        }
        let session = told.session;
        if let Err(failure) = self.core.committer.commit(told).await {
            // It is sent again, but not at once.
            self.undelivered.failed(session, &id);
            return Err(failure.into());
        }
        self.undelivered.ended(session, &id);
        Ok(())
    }

    async fn balance_data(&self, session: SessionId) -> Result<Value, EngineError> {
        let account = self.core.ports.store.account(account_of(session)).await?;
        let balance = account.map(|account| account.balance()).unwrap_or_default();
        Ok(json!({ "balanceSats": balance.to_sats_rounding_down().get(), "balanceMsats": balance.get() }))
    }
}

fn key_data(key: &SessionKey) -> Value {
    let limit = key.caveats.lines().next_back().unwrap_or_default();
    json!({
        "keyId": key.id.to_string(), "limit": limit,
        "spentMsats": key.usage.spent.get(), "requests": key.usage.requests,
    })
}

/// The id of a message: the same for the same warning, from every server.
fn message_id(told: &SessionNotified) -> String {
    let SessionNotified { session, key, level, occasion } = told;
    let subject = key.map_or_else(|| "balance".to_owned(), |key| key.to_string());
    format!("msg_{session}_{subject}_{}_{occasion}", level.percent())
}
