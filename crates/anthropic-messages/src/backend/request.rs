//! Requests to backends.

/// What the server decides about a request.
#[derive(Debug, Clone, Copy)]
pub struct BackendRequest<'a> {
    /// The model's name at the backend.
    pub model: &'a str,
    /// The most output to generate, in tokens.
    pub max_output_tokens: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the same request should get the same answer.
    pub deterministic: bool,
    /// Whether the backend takes a temperature of 0, which is how a deterministic answer is asked for.
    pub zero_temperature: bool,
    /// Whether the temperature and `top_p` that another API's client asks for are said.
    pub sampling: SamplingStyle,
    /// How an effort that another API's client asks for is said.
    pub effort: EffortStyle,
}

/// Whether the sampling of a chat from another API is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplingStyle {
    /// It is.
    #[default]
    Send,
    /// It is not: API version 2026-10-21, and the newer models under any version, answer 400 to `temperature` and `top_p`.
    Omit,
}

/// How the effort of a chat from another API is said. Models differ in what they take, and answer 400 to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EffortStyle {
    /// As `output_config.effort` with adaptive thinking: models since Claude Opus 4.6.
    #[default]
    Adaptive,
    /// As a budget for thinking: models up to Claude 4.5.
    Budget,
    /// Not at all: models that do not think.
    Omit,
}

impl BackendRequest<'_> {
    pub(super) const fn is_at_zero_temperature(&self) -> bool {
        self.deterministic && self.zero_temperature
    }
}
