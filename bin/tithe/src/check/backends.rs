//! Whether each model answers, at each backend that it runs on.

use super::probe::Probe;
use crate::adapters::{catalogue, hardware, inference};
use crate::chain;
use crate::config::{BackendConnection, Config};
use crate::failure::Failure;
use crate::routes::{routes, simulated, written};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::inference::{Inference, InferenceError, MAIN_BACKEND, probe as ask};
use tithe_pricing::Purpose;

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    ("backend", models(config))
}

async fn models(config: &Config) -> Vec<Probe> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let mut found = match backends(config, &clock, &entropy).await {
        Ok(found) => found,
        Err(wrong) => vec![Probe::failed("backend", chain(wrong.as_ref()))],
    };
    let hardware = catalogue(config.inference.models.as_deref())
        .and_then(|catalogue| hardware(config, &catalogue, &clock, &entropy));
    match (hardware, &config.hardware) {
        (Err(wrong), _) => found.push(Probe::failed("hardware", chain(wrong.as_ref()))),
        (Ok(Some(machine)), Some(settings)) if !settings.connection.is_simulated() => {
            let place = places(&settings.connection);
            let asked = (&*machine.model, Purpose::Chat);
            found.push(one("hardware", "", &machine.inference, &place, asked).await);
        }
        _ => {}
    }
    found
}

/// The main backend with the models that run on it, and every target of every route.
async fn backends(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Vec<Probe>, Failure> {
    let engine = &config.engine;
    let named = [&engine.eval_model, &engine.work_model].into_iter().chain(&engine.offered_models);
    let named: BTreeSet<&str> = named.map(String::as_str).collect();
    let connection = &config.inference.connection;
    let main = inference(config, clock, entropy)?;
    let catalogue = catalogue(config.inference.models.as_deref())?;
    let routes = routes(config, &main, &catalogue, clock, entropy)?;
    let (written, mut simulated) = (written(config)?, simulated(config)?);
    let mut found = Vec::new();
    if connection.is_simulated() {
        found.push(Probe::ok("backend", "simulated: results are made up"));
        simulated.push(MAIN_BACKEND.to_owned());
    }
    for route in written.iter().filter(|route| !named.contains(route.model.as_str())) {
        let told =
            format!("nobody can ask for the route {:?}: TITHE_OFFERED_MODELS does not name it", route.model);
        found.push(Probe::warning("backend", told));
    }
    // What is sent to each backend, once.
    let mut asked = BTreeMap::new();
    for (backend, name, purpose, inference) in routes.connections() {
        asked.insert((backend, name), (purpose, inference));
    }
    let with_route: BTreeSet<&str> = written.iter().map(|route| route.model.as_str()).collect();
    for model in named.difference(&with_route) {
        let purpose = catalogue.model(model).map(|model| model.purpose).unwrap_or_default();
        asked.entry((MAIN_BACKEND, model)).or_insert((purpose, &main));
    }
    let targets = asked.into_iter().filter(|((backend, _), _)| !simulated.iter().any(|name| name == backend));
    let probing = targets.map(async |((backend, name), (purpose, inference))| {
        let model = (name, purpose);
        if backend == MAIN_BACKEND {
            one("backend", "", inference, &places(connection), model).await
        } else {
            let place = format!("the backend {backend:?} in TITHE_ROUTES");
            one("backend", &format!(" at {backend}"), inference, &place, model).await
        }
    });
    found.extend(join_all(probing).await);
    Ok(found)
}

/// The settings of a connection.
fn places(connection: &BackendConnection) -> String {
    format!("{} and {}", connection.url_setting, connection.api_key_setting)
}

async fn one(
    subject: &'static str,
    at: &str,
    backend: &Arc<dyn Inference>,
    settings: &str,
    (model, purpose): (&str, Purpose),
) -> Probe {
    match ask(backend.as_ref(), model, purpose).await {
        Ok(()) => Probe::ok(subject, format!("{model}{at} answers")),
        // It judges what it is asked: it works.
        Err(InferenceError::Refused(_)) => {
            Probe::ok(subject, format!("{model}{at} answers, and refuses the test"))
        }
        Err(wrong) => Probe::failed(
            subject,
            format!("{model}{at}: {}; check {settings}, and the model's name", chain(&wrong)),
        ),
    }
}
