//! Health, the OpenAPI document, CORS, the pool, and solvency.

use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::Value;

/// An origin that no operator has configured.
const ORIGIN: &str = "https://selftest.invalid";

pub(super) fn area() -> Area {
    Area {
        name: "operations",
        section: "Pool, health, operations",
        checks: vec![
            Check::new("healthz", "GET /healthz says that the server is alive", |run| {
                healthz(run).boxed_local()
            }),
            Check::new(
                "readyz",
                "GET /readyz names the database, the migrations, the wallet and the price, and all are ok",
                |run| readyz(run).boxed_local(),
            ),
            Check::new(
                "openapi",
                "GET /openapi.json is an OpenAPI document with the routes of the contract",
                |run| openapi(run).boxed_local(),
            ),
            Check::new(
                "pool",
                "GET /api/pool shows the balance, what is reserved of it, and the budget of each tier",
                |run| pool(run).boxed_local(),
            ),
            Check::new(
                "solvency",
                "GET /api/solvency shows what the server owes and what its wallet holds",
                |run| solvency(run).boxed_local(),
            ),
            Check::new("cors-preflight", "a browser may send any header to the API", |run| {
                preflight(run).boxed_local()
            }),
            Check::new("cors-exposed-headers", "a browser may read the headers that clients need", |run| {
                exposed_headers(run).boxed_local()
            }),
        ],
    }
}

async fn healthz(run: &mut Run) -> Checked {
    run.api.get("/healthz").send().await?.status(200).map(drop)
}

async fn readyz(run: &mut Run) -> Checked {
    let answer = run.api.get("/readyz").send().await?;
    answer.holds(matches!(answer.status, 200 | 503), "status 200 or 503", answer.summary())?;
    for part in ["database", "migrations", "wallet", "price"] {
        let pointer = format!("/checks/{part}/ok");
        let is_named = answer.value(&pointer).is_some_and(Value::is_boolean);
        answer.holds(is_named, format!("`checks` to name {part}"), answer.summary())?;
    }
    let checks = answer.value("/checks").and_then(Value::as_object).cloned().unwrap_or_default();
    let failing = checks.iter().filter(|(_, check)| check.get("ok") != Some(&Value::Bool(true)));
    let failing: Vec<&str> = failing.map(|(name, _)| name.as_str()).collect();
    let got = excerpt::short(&format!("problems with: {}", failing.join(", ")));
    answer.holds(failing.is_empty(), "every part to be ok", got)?;
    answer.status(200).map(drop)
}

async fn openapi(run: &mut Run) -> Checked {
    let answer = run.api.get("/openapi.json").send().await?.status(200)?;
    let version = answer.text_at("/openapi")?;
    answer.holds(version.starts_with("3."), "`openapi` to be 3.x", excerpt::short(version))?;
    let paths = answer.value("/paths").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    answer.holds(paths > 0, "`paths` with the routes", "none")?;
    for path in [
        "/api/estimate",
        "/api/identity/challenge",
        "/api/identity/verify",
        "/api/identity/me",
        "/api/invoices/{paymentHash}",
        "/api/jobs",
        "/api/jobs/{jobId}",
        "/api/jobs/{jobId}/events",
        "/api/models",
        "/api/pool",
        "/api/sessions",
        "/api/sessions/{sessionId}/request",
        "/healthz",
        "/readyz",
    ] {
        let is_there = run.offers(path).await?;
        answer.holds(is_there, format!("`paths` to have {path}"), format!("{paths} other paths"))?;
    }
    Ok(())
}

async fn pool(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/pool").send().await?.status(200)?;
    let (balance, reserved) = (answer.number("/balanceSats")?, answer.number("/reservedSats")?);
    // The balance is rounded down, and what is reserved is rounded up.
    answer.holds(
        reserved <= balance.saturating_add(1),
        "`reservedSats` to be a part of `balanceSats`",
        format!("{reserved} of {balance}"),
    )?;
    answer.number("/grantedTodaySats")?;
    for tier in ["new", "established", "trusted", "elite"] {
        answer.number(&format!("/dailyBudgets/{tier}"))?;
    }
    Ok(())
}

async fn solvency(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/solvency").send().await?;
    if answer.status == 404 {
        return Err(Stop::skip("this server does not offer GET /api/solvency (404)"));
    }
    let answer = answer.status(200)?;
    for owed in ["sessions", "jobs", "refunds", "pool"] {
        answer.number(&format!("/owedSats/{owed}"))?;
    }
    let held = answer.body.get("heldSats");
    let is_amount = held.is_some_and(|held| held.is_null() || held.is_u64());
    answer.holds(is_amount, "`heldSats` to be a whole number or null", excerpt::of_body(&answer.text))?;
    answer.time("/checkedAt").map(drop)
}

async fn preflight(run: &mut Run) -> Checked {
    let call = run.api.call(Method::OPTIONS, "/api/jobs").header("origin", ORIGIN);
    let call = call.header("access-control-request-method", "POST");
    let answer =
        call.header("access-control-request-headers", "content-type, x-stainless-lang").send().await?;
    needs_any_origin(answer.header("access-control-allow-origin"))?;
    answer.holds(matches!(answer.status, 200 | 204), "status 200 or 204", answer.summary())?;
    let allowed = answer.required_header("access-control-allow-headers")?.to_ascii_lowercase();
    for header in ["content-type", "x-stainless-lang"] {
        let is_allowed = allowed == "*" || allowed.split(',').any(|name| name.trim() == header);
        answer.holds(
            is_allowed,
            format!("Access-Control-Allow-Headers to have {header}"),
            excerpt::short(&allowed),
        )?;
    }
    Ok(())
}

async fn exposed_headers(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/pool").header("origin", ORIGIN).send().await?;
    needs_any_origin(answer.header("access-control-allow-origin"))?;
    let exposed = answer.required_header("access-control-expose-headers")?.to_ascii_lowercase();
    for header in [
        "x-nostr-token",
        "x-request-id",
        "www-authenticate",
        "payment-receipt",
        "x-tithe-cost-msats",
        "x-tithe-balance-msats",
    ] {
        let is_exposed = exposed.split(',').any(|name| name.trim() == header);
        let expected = format!("Access-Control-Expose-Headers to have {header}");
        answer.holds(is_exposed, expected, excerpt::short(&exposed))?;
    }
    Ok(())
}

fn needs_any_origin(allowed: Option<&str>) -> Checked {
    match allowed {
        Some("*" | ORIGIN) => Ok(()),
        _ => Err(Stop::skip("this server lets browsers in from configured origins only")),
    }
}
