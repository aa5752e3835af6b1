//! The AI backend and its models.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tithe_engine::WhenClientLeaves;
use tithe_inference::{OutputLimitField, ZeroTemperature};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_INFERENCE",
        "inference",
        "sim",
        "The AI backend: sim, openai (any compatible endpoint) or anthropic",
    )
    .same(),
    Setting::new(
        "TITHE_INFERENCE_URL",
        "inference_url",
        "",
        "The base URL of the backend, such as https://api.openai.com/v1",
    ),
    Setting::secret("TITHE_INFERENCE_API_KEY", "inference_api_key", "The API key of the backend"),
    Setting::new(
        "TITHE_INFERENCE_OUTPUT_LIMIT",
        "inference_output_limit",
        "auto",
        "The field that limits the output: max_tokens, max_completion_tokens, or auto: by the host, and as the backend shows",
    ),
    Setting::new(
        "TITHE_INFERENCE_TEMPERATURE",
        "inference_temperature",
        "auto",
        "Whether evaluations are asked for with a temperature of 0: send, omit, or auto: by the host, and as the backend shows",
    ),
    Setting::new(
        "TITHE_INFERENCE_STREAM_OPTIONS",
        "inference_stream_options",
        "send",
        "Whether usage is requested by stream_options: send (left out once the backend refuses it) or omit",
    ),
    Setting::new(
        "TITHE_INFERENCE_WHEN_CLIENT_LEAVES",
        "inference_when_client_leaves",
        "cancel",
        "What happens at the backend when the client of a stream leaves: cancel, or drain (the answer is read to its end, so that the backend reports what it has used)",
    ),
    Setting::new(
        "TITHE_EVAL_MODEL",
        "eval_model",
        "",
        "The model that evaluates requests. With sim: sim-small",
    )
    .same(),
    Setting::new(
        "TITHE_EVAL_MAX_OUTPUT_TOKENS",
        "eval_max_output_tokens",
        "256",
        "The most output of an evaluation, in tokens. A model that reasons first needs more",
    )
    .same(),
    Setting::new(
        "TITHE_WORK_MODEL",
        "work_model",
        "",
        "The model that work runs on when the customer does not choose. With sim: sim-large",
    )
    .same(),
    Setting::new(
        "TITHE_OFFERED_MODELS",
        "offered_models",
        "",
        "The models that customers may choose, separated by commas. Empty: the work model (with sim: sim-small, sim-large and sim-embedding)",
    )
    .same(),
    Setting::new(
        "TITHE_MODELS",
        "models",
        "",
        "A file with models and prices, which replace or add to the built-in ones",
    ),
    Setting::new(
        "TITHE_ROUTES",
        "routes",
        "",
        "A file with more backends, and with routes: names of models that lead to one of several backends. Empty: every model runs on the one backend",
    ),
    Setting::new(
        "TITHE_SIM_LATENCY_MS",
        "sim_latency_ms",
        "0",
        "How long the simulated backend waits before it begins to answer, in milliseconds",
    ),
    Setting::new(
        "TITHE_SIM_DELTA_MS",
        "sim_delta_ms",
        "0",
        "How long the simulated backend waits between two parts of a streamed answer, in milliseconds",
    ),
];

/// The kind of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    Simulated { latency: Duration, delta_delay: Duration },
    OpenAi { url: String },
    Anthropic { url: String },
}

/// What requests to the backend contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) output_limit_field: OutputLimitField,
    pub(crate) zero_temperature: ZeroTemperature,
    pub(crate) stream_options: bool,
}

impl Parameters {
    /// What the backend takes is found out by its host, and as it shows.
    pub(super) const AUTO: Self = Self {
        output_limit_field: OutputLimitField::Auto,
        zero_temperature: ZeroTemperature::Auto,
        stream_options: true,
    };
}

/// How a backend is called.
pub(crate) struct BackendConnection {
    pub(crate) backend: Backend,
    pub(crate) parameters: Parameters,
    pub(crate) api_key: Option<String>,
    /// The setting that its URL is from, for errors.
    pub(crate) url_setting: Cow<'static, str>,
    /// The setting that its API key is from, for errors.
    pub(crate) api_key_setting: Cow<'static, str>,
}

impl BackendConnection {
    pub(crate) const fn is_simulated(&self) -> bool {
        matches!(self.backend, Backend::Simulated { .. })
    }
}

/// The simulated backend with its configured delays.
pub(super) fn simulated(values: &Values) -> Result<Backend, ConfigError> {
    Ok(Backend::Simulated {
        latency: Duration::from_millis(values.number("TITHE_SIM_LATENCY_MS", 0, 600_000)?),
        delta_delay: Duration::from_millis(values.number("TITHE_SIM_DELTA_MS", 0, 60_000)?),
    })
}

/// The AI backend and its models.
pub(crate) struct Inference {
    pub(crate) connection: BackendConnection,
    pub(crate) models: Option<PathBuf>,
    pub(crate) routes: Option<PathBuf>,
    pub(super) eval_model: String,
    pub(super) eval_max_output_tokens: u64,
    pub(super) work_model: String,
    pub(super) offered_models: BTreeSet<String>,
    pub(super) when_client_leaves: WhenClientLeaves,
}

impl Inference {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        let kind = values.one_of("TITHE_INFERENCE", &["sim", "openai", "anthropic"])?;
        let is_simulated = kind == "sim";
        let backend = match kind {
            "openai" => {
                Backend::OpenAi { url: values.required("TITHE_INFERENCE_URL", "TITHE_INFERENCE=openai")? }
            }
            "anthropic" => {
                let url = values.optional("TITHE_INFERENCE_URL");
                Backend::Anthropic { url: url.unwrap_or_else(|| "https://api.anthropic.com".to_owned()) }
            }
            _ => simulated(values)?,
        };
        let model = |name, default: &str| match values.optional(name) {
            Some(model) => Ok(model),
            None if is_simulated => Ok(default.to_owned()),
            None => values.required(name, &format!("TITHE_INFERENCE={kind}")),
        };
        let (eval_model, work_model) =
            (model("TITHE_EVAL_MODEL", "sim-small")?, model("TITHE_WORK_MODEL", "sim-large")?);
        let offered_models = match values.list("TITHE_OFFERED_MODELS") {
            models if !models.is_empty() => models.into_iter().collect(),
            _ if is_simulated => ["sim-small", "sim-large", "sim-embedding"].map(str::to_owned).into(),
            _ => BTreeSet::from([work_model.clone()]),
        };
        let parameters = Parameters {
            output_limit_field: match values
                .one_of("TITHE_INFERENCE_OUTPUT_LIMIT", &["auto", "max_tokens", "max_completion_tokens"])?
            {
                "max_tokens" => OutputLimitField::MaxTokens,
                "max_completion_tokens" => OutputLimitField::MaxCompletionTokens,
                _ => OutputLimitField::Auto,
            },
            zero_temperature: match values.one_of("TITHE_INFERENCE_TEMPERATURE", &["auto", "send", "omit"])? {
                "send" => ZeroTemperature::Send,
                "omit" => ZeroTemperature::Omit,
                _ => ZeroTemperature::Auto,
            },
            stream_options: values.one_of("TITHE_INFERENCE_STREAM_OPTIONS", &["send", "omit"])? == "send",
        };
        Ok(Self {
            connection: BackendConnection {
                backend,
                parameters,
                api_key: values.optional("TITHE_INFERENCE_API_KEY"),
                url_setting: "TITHE_INFERENCE_URL".into(),
                api_key_setting: "TITHE_INFERENCE_API_KEY".into(),
            },
            models: values.optional("TITHE_MODELS").map(PathBuf::from),
            routes: values.optional("TITHE_ROUTES").map(PathBuf::from),
            eval_model,
            eval_max_output_tokens: values.number("TITHE_EVAL_MAX_OUTPUT_TOKENS", 16, 1_000_000)?,
            work_model,
            offered_models,
            when_client_leaves: match values
                .one_of("TITHE_INFERENCE_WHEN_CLIENT_LEAVES", &["cancel", "drain"])?
            {
                "drain" => WhenClientLeaves::Drain,
                _ => WhenClientLeaves::Cancel,
            },
        })
    }

    /// Whether customers may choose a model.
    pub(super) fn offers(&self, model: &str) -> bool {
        model == self.work_model || self.offered_models.contains(model)
    }
}
