//! Warning the owners of sessions.

use super::service::Sessions;
use super::session_notified::SessionNotified;
use super::steps::account_of;
use super::webhooks::WebhookMessage;
use crate::error::EngineError;
use crate::error_chain::chain;
use futures_util::{TryStreamExt as _, stream};
use serde_json::{Value, json};
use tithe_paywall::{KeyId, Limit};
use tithe_sessions::{Session, SessionId, SessionKey, UsageLevel, WebhookUrl};
use tracing::{info, warn};

/// How many warnings are read at once.
const PAGE: usize = 100;

/// How many messages are sent at once: a host that does not respond delays the others little.
const SEND_PARALLEL: usize = 16;

/// A warning that is due.
struct DueWarning {
    session: SessionId,
    url: WebhookUrl,
    key: Option<KeyId>,
    level: UsageLevel,
    /// Distinguishes this warning from an earlier one of the same level.
    occasion: i64,
    data: Value,
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
        let mut after = None;
        loop {
            let sessions = store.sessions_to_warn(after, PAGE).await?;
            let Some(last) = sessions.last() else { break };
            after = Some(last.id);
            self.warn_each(sessions, |session| self.balance_warning(session)).await?;
        }
        let mut after = None;
        loop {
            let keys = store.session_keys_to_warn(after, PAGE).await?;
            let Some(last) = keys.last() else { break };
            after = Some((last.session, last.id));
            self.warn_each(keys, |key| self.key_warning(key)).await?;
        }
        Ok(())
    }

    async fn warn_each<T, F>(&self, of: Vec<T>, warning: impl Fn(T) -> F) -> Result<(), EngineError>
    where
        F: Future<Output = Result<Option<DueWarning>, EngineError>>,
    {
        stream::iter(of.into_iter().map(Ok))
            .try_for_each_concurrent(SEND_PARALLEL, |of| {
                let warning = warning(of);
                async {
                    match warning.await? {
                        Some(due) => self.warn(due).await,
                        None => Ok(()),
                    }
                }
            })
            .await
    }

    async fn balance_warning(&self, session: Session) -> Result<Option<DueWarning>, EngineError> {
        // One without a webhook is never due.
        let Some(url) = session.webhook else { return Ok(None) };
        let account = self.core.ports.store.account(account_of(session.id)).await?;
        let balance = account.map(|account| account.balance()).unwrap_or_default();
        Ok(Some(DueWarning {
            session: session.id,
            url,
            key: None,
            level: session.warned.reached,
            occasion: session.paid_in.to_i64(),
            data: json!({ "balanceSats": balance.to_sats_rounding_down().get(), "balanceMsats": balance.get() }),
        }))
    }

    async fn key_warning(&self, key: SessionKey) -> Result<Option<DueWarning>, EngineError> {
        let session = self.core.ports.store.session(key.session).await?;
        let Some(url) = session.and_then(|session| session.webhook) else { return Ok(None) };
        // A limit by period begins anew with each.
        let period = match (key.limit(), key.usage.counted_at) {
            (Some(Limit::Period(period, _)), Some(at)) => period.start_of(at).unix_seconds(),
            _ => 0,
        };
        let limit = key.caveats.lines().next_back().unwrap_or_default();
        Ok(Some(DueWarning {
            session: key.session,
            url,
            key: Some(key.id),
            level: key.warned.reached,
            occasion: period,
            data: json!({
                "keyId": key.id.to_string(), "limit": limit,
                "spentMsats": key.usage.spent.get(), "requests": key.usage.requests,
            }),
        }))
    }

    async fn warn(&self, due: DueWarning) -> Result<(), EngineError> {
        let DueWarning { session, url, key, level, occasion, data } = due;
        if self.undelivered.rests(session, key) {
            return Ok(());
        }
        let sent_at = self.core.now();
        let subject = key.map_or_else(|| "balance".to_owned(), |key| key.to_string());
        let id = format!("msg_{session}_{subject}_{}_{occasion}", level.percent());
        let mut body = json!({
            "type": if key.is_some() { "session.key.usage" } else { "session.balance.usage" },
            "timestamp": sent_at.to_string(),
            "data": { "sessionId": session.to_string(), "usedPercent": level.percent() },
        });
        if let (Some(Value::Object(to)), Value::Object(more)) = (body.get_mut("data"), data) {
            to.extend(more);
        }
        let body = body.to_string();
        let Some(signature) = self.webhook_secrets.signature(session, &id, sent_at.unix_seconds(), &body)
        else {
            return Err(EngineError::Internal);
        };
        let message = WebhookMessage { url, id, sent_at, signature, body };
        if let Err(failure) = self.core.ports.webhooks.send(&message).await {
            let last = self.undelivered.failed(session, key);
            warn!(%session, failure = chain(&failure), last, "the owner of a session could not be warned");
            if !last {
                return Ok(());
            }
        } else {
            info!(%session, used = %level, "the owner of a session was warned");
        }
        self.undelivered.ended(session, key);
        self.core.committer.commit(SessionNotified { session, key, level }).await?;
        Ok(())
    }
}
