//! What all answers of the run have in common.

use crate::selftest::check::{Area, Check};
use crate::selftest::observed::Broken;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;

pub(super) fn area() -> Area {
    Area {
        name: "answers",
        section: "Errors",
        checks: vec![
            Check::new("request-ids", "every answer of this run had an X-Request-Id of its own", |run| {
                request_ids(run).boxed_local()
            }),
            Check::new("problem-shapes", "every error of this run had the documented shape", |run| {
                problem_shapes(run).boxed_local()
            }),
        ],
    }
}

async fn request_ids(run: &mut Run) -> Checked {
    // If nothing else ran.
    for path in ["/healthz", "/api/pool", "/api/no-such-route"] {
        run.api.get(path).send().await?;
    }
    found(run.api.observed().without_id.clone())
}

async fn problem_shapes(run: &mut Run) -> Checked {
    for path in ["/api/estimate", "/api/no-such-route"] {
        run.api.get(path).send().await?;
    }
    found(run.api.observed().misshapen.clone())
}

fn found(broken: Option<Broken>) -> Checked {
    match broken {
        Some(Broken { request, expected, got }) => Err(Stop::fault(request, expected, got)),
        None => Ok(()),
    }
}
