//! What is refused, and in which shape.

use crate::selftest::check::{Area, Check};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::json;

/// The largest body that is accepted, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// More than a URL can carry, in bytes.
const LONG_URL: usize = 60_000;

pub(super) fn area() -> Area {
    Area {
        name: "errors",
        section: "Errors",
        checks: vec![
            Check::new(
                "problem-shape",
                "an error is problem+json with a code, a detail and the request id",
                |run| problem_shape(run).boxed_local(),
            ),
            Check::new("unknown-route", "an unknown path is a 404 in the same shape", |run| {
                unknown_route(run).boxed_local()
            }),
            Check::new(
                "wrong-method",
                "a method that a path does not have is a 405 that names those it has",
                |run| wrong_method(run).boxed_local(),
            ),
            Check::new("malformed-body", "a body that is no JSON object is a 400", |run| {
                malformed_body(run).boxed_local()
            }),
            Check::new("missing-field", "a missing field is a 400 that names it", |run| {
                missing_field(run).boxed_local()
            }),
            Check::new("wrong-type", "a field of a wrong type is a 400 that names it", |run| {
                wrong_type(run).boxed_local()
            }),
            Check::new(
                "impossible-amounts",
                "amounts that are zero, negative, fractional, too large or no numbers are a 400",
                |run| impossible_amounts(run).boxed_local(),
            ),
            Check::new("unknown-fields", "unknown fields of a body are ignored", |run| {
                unknown_fields(run).boxed_local()
            }),
            Check::new("body-too-large", "a body over 1 MiB is a 413", |run| {
                body_too_large(run).boxed_local()
            }),
            Check::new("url-too-long", "a URL that is too long is a 414", |run| {
                url_too_long(run).boxed_local()
            }),
        ],
    }
}

async fn problem_shape(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/estimate").send().await?.status(400)?;
    let kind = answer.required_header("content-type")?;
    answer.holds(
        kind.starts_with("application/problem+json"),
        "Content-Type: application/problem+json",
        kind,
    )?;
    let code = answer.text_at("/code")?;
    answer.is("/type", format!("/problems/{}", code.replace('_', "-")))?;
    answer.text_at("/title")?;
    answer.is("/status", 400)?;
    answer.is("/error", answer.text_at("/detail")?)?;
    answer.is("/requestId", answer.required_header("x-request-id")?)
}

async fn unknown_route(run: &mut Run) -> Checked {
    for call in [run.api.get("/api/no-such-route"), run.api.post("/api/jobs/no/such/route").json(&json!({}))]
    {
        call.send().await?.problem(404, "not_found")?;
    }
    Ok(())
}

async fn wrong_method(run: &mut Run) -> Checked {
    let answer = run.api.call(Method::DELETE, "/api/estimate").send().await?.status(405)?;
    let allowed = answer.required_header("allow")?;
    answer.holds(allowed.contains("GET"), "a header Allow with GET", allowed)?;
    answer.text_at("/code").map(drop)
}

async fn malformed_body(run: &mut Run) -> Checked {
    for body in ["", "hello", "[]", "null", "{\"request\":", "{\"request\":\"a\",}", "{\"request\":\"a\"} {}"]
    {
        for path in ["/api/jobs", "/api/sessions", "/api/estimate"] {
            run.api.post(path).raw(body).send().await?.status(400)?;
        }
    }
    run.api.post("/api/jobs").raw(b"{\"request\":\"\xff\"}".to_vec()).send().await?.status(400).map(drop)
}

async fn missing_field(run: &mut Run) -> Checked {
    for (path, field) in [
        ("/api/jobs", "request"),
        ("/api/sessions", "amountSats"),
        ("/api/estimate", "request"),
        ("/api/identity/verify", "event"),
    ] {
        run.api.post(path).json(&json!({})).send().await?.names_field(field)?;
    }
    Ok(())
}

async fn wrong_type(run: &mut Run) -> Checked {
    for (path, body, field) in [
        ("/api/jobs", json!({ "request": 5 }), "request"),
        ("/api/jobs", json!({ "request": null }), "request"),
        ("/api/jobs", json!({ "request": ["a"] }), "request"),
        ("/api/jobs", json!({ "request": "" }), "request"),
        ("/api/jobs", json!({ "request": "a", "model": 1 }), "model"),
        ("/api/jobs", json!({ "request": "a", "model": "no-such-model" }), "model"),
        ("/api/jobs", json!({ "request": "a", "maxOutputTokens": "many" }), "maxOutputTokens"),
        ("/api/jobs", json!({ "request": "a", "maxOutputTokens": 1.5 }), "maxOutputTokens"),
        ("/api/jobs", json!({ "request": "a", "maxOutputTokens": -1 }), "maxOutputTokens"),
        ("/api/jobs", json!({ "request": "a", "maxOutputTokens": 0 }), "maxOutputTokens"),
        ("/api/sessions", json!({ "amountSats": "500" }), "amountSats"),
        ("/api/sessions", json!({ "amountSats": [500] }), "amountSats"),
        ("/api/identity/verify", json!({ "event": "a" }), "event"),
    ] {
        run.api.post(path).json(&body).send().await?.names_field(field)?;
    }
    Ok(())
}

async fn impossible_amounts(run: &mut Run) -> Checked {
    for amount in [
        "0",
        "-1",
        "-0.5",
        "0.5",
        "500.5",
        "NaN",
        "Infinity",
        "1e999",
        "\"NaN\"",
        "true",
        "9007199254740993000",
        "18446744073709551616",
    ] {
        let answer = run.api.post("/api/sessions").raw(format!("{{\"amountSats\":{amount}}}")).send().await?;
        if answer.status != 400 {
            return Err(answer.fault(format!("status 400 for an amount of {amount}"), answer.summary()));
        }
    }
    Ok(())
}

async fn unknown_fields(run: &mut Run) -> Checked {
    let body = json!({ "request": "Why is the sky blue?", "noSuchField": { "a": [1] } });
    run.api.post("/api/estimate").json(&body).send().await?.status(200).map(drop)
}

async fn body_too_large(run: &mut Run) -> Checked {
    let body = json!({ "request": "a".repeat(BODY_MAX + 1) });
    for path in ["/api/jobs", "/api/estimate"] {
        run.api.post(path).json(&body).send().await?.status(413)?;
    }
    Ok(())
}

async fn url_too_long(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/estimate").query("request", "a".repeat(LONG_URL)).send().await?;
    if answer.status == 431 || (answer.status == 400 && answer.text.is_empty()) {
        return Err(Stop::skip("something in front of the server refuses URLs of this length itself"));
    }
    answer.status(414).map(drop)
}
