//! The recorder of metrics, and the page that it makes of them.

use crate::failure::Failure;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::time::Duration;
use tithe_engine::telemetry::{Metric, MetricKind};
use tithe_http::MetricsPage;
use tokio::runtime::Handle;

/// How often what was recorded is put together, so that it takes no more memory when nobody reads it.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Records all metrics from now on, and returns the page of them.
pub(crate) fn record(runtime: &Handle) -> Result<MetricsPage, Failure> {
    let mut builder = PrometheusBuilder::new();
    for Metric { name, kind, .. } in all() {
        if let MetricKind::Histogram(bounds) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    tithe_engine::telemetry::describe();
    tithe_store_sql::telemetry::describe();
    tithe_http::telemetry::describe();
    let upkeep = handle.clone();
    runtime.spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(MetricsPage::new(move || handle.render()))
}

/// All metrics.
fn all() -> impl Iterator<Item = &'static Metric> {
    let parts = [
        tithe_engine::telemetry::METRICS,
        tithe_store_sql::telemetry::METRICS,
        tithe_http::telemetry::METRICS,
    ];
    parts.into_iter().flatten()
}
