//! Identities: challenges, logins and tokens.

use super::prices::{REQUEST, order};
use crate::selftest::answer::Answer;
use crate::selftest::api::{Api, now, random};
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Identity, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_trust::{Nonce, SecretKey};

/// The kind of an event that answers a challenge (NIP-42).
const CLIENT_AUTH: u16 = 22242;

/// The kind of a note, which proves nothing.
const NOTE: u16 = 1;

pub(super) fn area() -> Area {
    Area {
        name: "identity",
        section: "Identity",
        checks: vec![
            Check::new(
                "identity-challenge",
                "a challenge is a fresh nonce of 64 hex digits with an expiry",
                |run| challenge(run).boxed_local(),
            ),
            Check::new(
                "identity-login",
                "a fresh key that signs the nonce gets a token, in the body and as a header",
                |run| login(run).boxed_local(),
            )
            .after(&["identity-challenge"]),
            Check::new("identity-npub", "a login may name its key as npub", |run| npub(run).boxed_local())
                .after(&["identity-login"]),
            Check::new(
                "identity-other-pubkey",
                "a login that names another key than the event's is a 400",
                |run| other_pubkey(run).boxed_local(),
            )
            .after(&["identity-login"]),
            Check::new("identity-wrong-signature", "an event with a wrong signature or id is a 401", |run| {
                wrong_signature(run).boxed_local()
            })
            .after(&["identity-login"]),
            Check::new("identity-wrong-event", "an event of another kind, or an old one, is a 401", |run| {
                wrong_event(run).boxed_local()
            })
            .after(&["identity-login"]),
            Check::new("identity-unknown-nonce", "a nonce that the server did not give is a 401", |run| {
                unknown_nonce(run).boxed_local()
            })
            .after(&["identity-login"]),
            Check::new("identity-used-nonce", "a nonce that was used is a 401", |run| {
                used_nonce(run).boxed_local()
            })
            .after(&["identity-login"]),
            Check::new(
                "identity-me",
                "GET /api/identity/me shows the key, its trust and its budget",
                |run| me(run).boxed_local(),
            )
            .after(&["identity-login"]),
            Check::new(
                "identity-required",
                "GET /api/identity/me and GET /api/jobs without an identity are a 401",
                |run| required(run).boxed_local(),
            ),
            Check::new(
                "identity-invalid-token",
                "an invalid token is a 401 wherever it is sent, never anonymous",
                |run| invalid_token(run).boxed_local(),
            )
            .after(&["identity-login"]),
            Check::new(
                "identity-token-places",
                "the token is read from the header, the query and the body",
                |run| token_places(run).boxed_local(),
            )
            .after(&["identity-login"]),
            Check::new(
                "estimate-changes-nothing",
                "estimates change neither the trust nor the budget of an identity",
                |run| estimates_change_nothing(run).boxed_local(),
            )
            .after(&["identity-me"]),
        ],
    }
}

/// A key that nobody has used.
pub(super) fn fresh_key() -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_bytes(random()) {
            return key;
        }
    }
}

async fn nonce(api: &Api) -> Checked<Nonce> {
    let answer = api.post("/api/identity/challenge").send().await?.status(200)?;
    let nonce = answer.text_at("/nonce")?;
    // Sign nothing but a nonce, whatever the server sends.
    nonce.parse().map_err(|_| answer.fault("`nonce` to be 64 lowercase hex digits", answer.summary()))
}

/// The event that answers a new challenge.
async fn event(api: &Api, key: &SecretKey) -> Checked<Value> {
    Ok(parsed(&key.login(nonce(api).await?, &api.origin(), now(), random())))
}

fn parsed(event: &str) -> Value {
    serde_json::from_str(event).unwrap_or_default()
}

async fn verify(api: &Api, event: &Value) -> Checked<Answer> {
    api.post("/api/identity/verify").json(&json!({ "event": event })).send().await
}

/// Logs a key in.
pub(super) async fn logged_in(api: &Api, key: SecretKey) -> Checked<Identity> {
    let answer = verify(api, &event(api, &key).await?).await?.status(200)?;
    Ok(Identity { key, token: answer.owned("/nostr_token")?, login: answer.body })
}

async fn challenge(run: &mut Run) -> Checked {
    let first = nonce(&run.api).await?;
    let answer = run.api.post("/api/identity/challenge").send().await?.status(200)?;
    let again = answer.text_at("/nonce")?;
    answer.holds(again != first.to_string(), "a fresh `nonce` each time", "the same again")?;
    let expires_at = answer.time("/expiresAt")?;
    answer.holds(expires_at > now(), "`expiresAt` to be in the future", expires_at)
}

async fn login(run: &mut Run) -> Checked {
    let key = fresh_key();
    let answer = verify(&run.api, &event(&run.api, &key).await?).await?.status(200)?;
    answer.is("/pubkey", key.pubkey().to_string())?;
    answer.is("/trust/tier", "new")?;
    answer.is("/trust/interactionCount", 0)?;
    answer.decimal("/trust/score")?;
    let token = answer.text_at("/nostr_token")?;
    let header = answer.required_header("x-nostr-token")?;
    answer.holds(header == token, "the header X-Nostr-Token to be `nostr_token`", "another text")?;
    let expires_at = answer.time("/expiresAt")?;
    answer.holds(expires_at > now(), "`expiresAt` to be in the future", expires_at)?;
    run.known.identity = Some(Identity { key, token: token.to_owned(), login: answer.body.clone() });
    Ok(())
}

async fn npub(run: &mut Run) -> Checked {
    let key = learned(run.known.identity.as_ref(), "an identity")?.key;
    let body = json!({ "event": event(&run.api, &key).await?, "pubkey": key.pubkey().npub() });
    let answer = run.api.post("/api/identity/verify").json(&body).send().await?.status(200)?;
    answer.is("/pubkey", key.pubkey().to_string())
}

async fn other_pubkey(run: &mut Run) -> Checked {
    let body =
        json!({ "event": event(&run.api, &fresh_key()).await?, "pubkey": fresh_key().pubkey().to_string() });
    run.api.post("/api/identity/verify").json(&body).send().await?.names_field("pubkey").map(drop)
}

async fn wrong_signature(run: &mut Run) -> Checked {
    for field in ["sig", "id"] {
        let mut event = event(&run.api, &fresh_key()).await?;
        let changed = event.get(field).and_then(Value::as_str).map(with_other_first_digit);
        if let (Some(value), Some(changed)) = (event.get_mut(field), changed) {
            *value = changed.into();
        }
        verify(&run.api, &event).await?.problem(401, "invalid_identity")?;
    }
    Ok(())
}

/// A text of hex digits that differs in its first.
fn with_other_first_digit(hex: &str) -> String {
    let first = if hex.starts_with('0') { '1' } else { '0' };
    std::iter::once(first).chain(hex.chars().skip(1)).collect()
}

async fn wrong_event(run: &mut Run) -> Checked {
    let (key, origin) = (fresh_key(), run.api.origin());
    let hour_ago = now() - Duration::from_hours(1);
    for (kind, created_at) in [(NOTE, now()), (CLIENT_AUTH, hour_ago)] {
        let nonce = nonce(&run.api).await?.to_string();
        let tags: [&[&str]; 2] = [&["relay", &origin], &["challenge", &nonce]];
        let event = parsed(&key.sign(kind, &tags, "", created_at, random()));
        verify(&run.api, &event).await?.problem(401, "invalid_identity")?;
    }
    Ok(())
}

async fn unknown_nonce(run: &mut Run) -> Checked {
    let event = fresh_key().login(Nonce::from_bytes(random()), &run.api.origin(), now(), random());
    verify(&run.api, &parsed(&event)).await?.problem(401, "invalid_identity").map(drop)
}

async fn used_nonce(run: &mut Run) -> Checked {
    let (key, other) = (fresh_key(), fresh_key());
    let (nonce, origin) = (nonce(&run.api).await?, run.api.origin());
    let event = parsed(&key.login(nonce, &origin, now(), random()));
    verify(&run.api, &event).await?.status(200)?;
    verify(&run.api, &event).await?.problem(401, "invalid_identity")?;
    // Nor can another key use it.
    let event = parsed(&other.login(nonce, &origin, now(), random()));
    verify(&run.api, &event).await?.problem(401, "invalid_identity").map(drop)
}

async fn me(run: &mut Run) -> Checked {
    let identity = learned(run.known.identity.as_ref(), "an identity")?;
    let answer = run.api.get("/api/identity/me").token(&identity.token).send().await?.status(200)?;
    answer.is("/pubkey", identity.key.pubkey().to_string())?;
    answer.is("/npub", identity.key.pubkey().npub())?;
    for field in ["tier", "score", "interactionCount"] {
        let at_login = identity.login.pointer(&format!("/trust/{field}")).cloned().unwrap_or_default();
        answer.is(&format!("/trust/{field}"), at_login)?;
    }
    answer.is_one_of("/trust/nextTier", &["established", "trusted", "elite"])?;
    answer.decimal("/trust/pointsToNextTier")?;
    let budget = answer.number("/freeTier/dailyBudgetSats")?;
    answer.is("/freeTier/absorbedTodaySats", 0)?;
    answer.is("/freeTier/remainingTodaySats", budget)
}

async fn required(run: &mut Run) -> Checked {
    for path in ["/api/identity/me", "/api/jobs"] {
        run.api.get(path).send().await?.problem(401, "identity_required")?;
    }
    Ok(())
}

async fn invalid_token(run: &mut Run) -> Checked {
    let token = learned(run.known.identity.as_ref(), "an identity")?.token;
    let mut invalid = vec!["garbage".to_owned(), "v1.e30.AAAA".to_owned(), format!("{token}A")];
    // The payload and the signature, each altered.
    let parts: Vec<&str> = token.split('.').collect();
    for n in 1..parts.len() {
        let altered = parts
            .iter()
            .enumerate()
            .map(|(at, part)| if at == n { with_other_first_digit(part) } else { (*part).to_owned() });
        invalid.push(altered.collect::<Vec<_>>().join("."));
    }
    for wrong in &invalid {
        run.api
            .get("/api/estimate")
            .query("request", REQUEST)
            .token(wrong)
            .send()
            .await?
            .problem(401, "invalid_identity")?;
        run.api.get("/api/identity/me").token(wrong).send().await?.problem(401, "invalid_identity")?;
    }
    let wrong = invalid.pop().unwrap_or_default();
    let call = run.api.get("/api/estimate").query("request", REQUEST).query("nostr_token", wrong.clone());
    call.send().await?.problem(401, "invalid_identity")?;
    let mut body = order();
    if let Value::Object(fields) = &mut body {
        fields.insert("nostr_token".to_owned(), wrong.into());
    }
    for path in ["/api/jobs", "/api/sessions", "/api/estimate"] {
        let mut body = body.clone();
        if let Value::Object(fields) = &mut body {
            fields.insert("amountSats".to_owned(), 500.into());
        }
        run.api.post(path).json(&body).send().await?.problem(401, "invalid_identity")?;
    }
    let basic = run.api.get("/api/estimate").query("request", REQUEST).header("authorization", "Basic dTpw");
    let answer = basic.send().await?;
    answer.holds(
        answer.status == 401,
        "status 401 for credentials of a scheme that the server does not know",
        answer.summary(),
    )
}

async fn token_places(run: &mut Run) -> Checked {
    let Identity { key, token, .. } = learned(run.known.identity.as_ref(), "an identity")?;
    let pubkey = key.pubkey().to_string();
    let read = || run.api.get("/api/estimate").query("request", REQUEST);
    let in_body = json!({ "request": REQUEST, "nostr_token": token });
    for call in [
        read().token(&token),
        read().query("nostr_token", token.clone()),
        run.api.post("/api/estimate").json(&in_body),
    ] {
        let answer = call.send().await?.status(200)?;
        answer.is("/identity/pubkey", pubkey.clone())?;
    }
    Ok(())
}

async fn estimates_change_nothing(run: &mut Run) -> Checked {
    let token = learned(run.known.identity.as_ref(), "an identity")?.token;
    let me = || run.api.get("/api/identity/me").token(&token).send();
    let before = me().await?.status(200)?;
    for _ in 0..2 {
        run.api.get("/api/estimate").query("request", REQUEST).token(&token).send().await?.status(200)?;
        run.api.post("/api/estimate").json(&order()).token(&token).send().await?.status(200)?;
    }
    let after = me().await?.status(200)?;
    for field in ["/trust/score", "/trust/interactionCount", "/freeTier"] {
        let Some(value) = before.value(field) else {
            return Err(Stop::fault(before.request, format!("`{}`", field.trim_start_matches('/')), "none"));
        };
        after.is(field, value.clone())?;
    }
    Ok(())
}
