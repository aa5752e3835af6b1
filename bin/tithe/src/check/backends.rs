//! Whether each model answers, at the backend that it runs on.

use super::probe::Probe;
use crate::adapters::{catalogue, hardware, inference};
use crate::chain;
use crate::config::{BackendConnection, Config};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::inference::{Inference, InferenceError, probe as ask};
use tithe_pricing::Purpose;

pub(super) fn probe(config: &Config) -> (&'static str, impl Future<Output = Vec<Probe>>) {
    ("backend", models(config))
}

async fn models(config: &Config) -> Vec<Probe> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let engine = &config.engine;
    let named = [&engine.eval_model, &engine.work_model].into_iter().chain(&engine.offered_models);
    let named: BTreeSet<&str> = named.map(String::as_str).collect();
    let connection = &config.inference.connection;
    let purpose = |model: &str| {
        let catalogue = catalogue(config.inference.models.as_deref()).ok();
        catalogue.and_then(|catalogue| catalogue.model(model).map(|model| model.purpose)).unwrap_or_default()
    };
    let mut found = match inference(config, &clock, &entropy) {
        Err(wrong) => vec![Probe::failed("backend", chain(wrong.as_ref()))],
        Ok(_) if connection.is_simulated() => vec![Probe::ok("backend", "simulated: results are made up")],
        Ok(backend) => {
            join_all(
                named.into_iter().map(|model| one("backend", &backend, connection, (model, purpose(model)))),
            )
            .await
        }
    };
    let hardware = catalogue(config.inference.models.as_deref())
        .and_then(|catalogue| hardware(config, &catalogue, &clock, &entropy));
    match (hardware, &config.hardware) {
        (Err(wrong), _) => found.push(Probe::failed("hardware", chain(wrong.as_ref()))),
        (Ok(Some(machine)), Some(settings)) if !settings.connection.is_simulated() => {
            found.push(
                one("hardware", &machine.inference, &settings.connection, (&machine.model, Purpose::Chat))
                    .await,
            );
        }
        _ => {}
    }
    found
}

async fn one(
    subject: &'static str,
    backend: &Arc<dyn Inference>,
    connection: &BackendConnection,
    (model, purpose): (&str, Purpose),
) -> Probe {
    let settings = format!("{} and {}", connection.url_setting, connection.api_key_setting);
    match ask(backend.as_ref(), model, purpose).await {
        Ok(()) => Probe::ok(subject, format!("{model} answers")),
        // It judges what it is asked: it works.
        Err(InferenceError::Refused(_)) => {
            Probe::ok(subject, format!("{model} answers, and refuses the test"))
        }
        Err(wrong) => Probe::failed(
            subject,
            format!("{model}: {}; check {settings}, and the model's name", chain(&wrong)),
        ),
    }
}
