//! Traces, which go to an OpenTelemetry collector. The feature `otel` has them.
//!
//! They are set up by the variables that OpenTelemetry defines
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>): without an endpoint there are none.

/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Whether the environment names a collector.
pub(crate) fn are_wanted() -> bool {
    ENDPOINTS.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(feature = "otel")]
pub(crate) use exporting::{layer, shut_down};

#[cfg(feature = "otel")]
mod exporting {
    use crate::failure::{Failure, doing};
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use std::sync::OnceLock;
    use tracing::{Subscriber, level_filters::LevelFilter};
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::registry::LookupSpan;

    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

    /// The layer that takes spans: Tithe's own, also those that are too fine for the log.
    pub(crate) fn layer<S>() -> Result<impl Layer<S>, Failure>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(doing("cannot send traces (OTEL_EXPORTER_OTLP_ENDPOINT)"))?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("tithe");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = PROVIDER.get_or_init(|| provider).tracer("tithe");
        let ours = Targets::new().with_target("tithe", LevelFilter::DEBUG);
        Ok(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours))
    }

    /// Sends what is left.
    pub(crate) fn shut_down() {
        if let Some(provider) = PROVIDER.get()
            && let Err(failure) = provider.shutdown()
        {
            tracing::warn!(error = %failure, "the last traces could not be sent");
        }
    }
}
