//! What the benchmark asks, and what the mock upstream understands of it.

use std::time::SystemTime;

/// The model that is asked: its tokens are counted with the tokenizer that most models of OpenAI have.
pub(super) const MODEL: &str = "gpt-4o-mini";

/// The path at which the mock upstream is measured alone.
pub(super) const ALONE: &str = "/alone/v1/chat/completions";

/// What is asked for a whole answer.
pub(super) const WHOLE: Plan = Plan { chunks: 32, micros: 0 };

/// What the mock upstream shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The tokens of the answer; in a stream, each has a chunk.
    pub(super) chunks: u64,
    /// The time between two chunks of a stream, in microseconds. 0: back to back.
    pub(super) micros: u64,
}

impl Plan {
    /// The body of a request.
    pub(super) fn body(self, is_stream: bool) -> String {
        let Self { chunks, micros } = self;
        let most = chunks.max(16);
        let stream =
            if is_stream { ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" } else { "" };
        format!(
            "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"}},\
             {{\"role\":\"user\",\"content\":\"Say {chunks} words, one every {micros} microseconds.\"}}],\"max_tokens\":{most}{stream}}}"
        )
    }

    /// The plan in a request; `None` if it has none.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let (chunks, rest) = number_after(body, b"Say ")?;
        let (micros, _) = number_after(rest, b"one every ")?;
        Some(Self { chunks, micros })
    }
}

/// The number that follows a text, and what follows the number.
pub(super) fn number_after<'a>(bytes: &'a [u8], text: &[u8]) -> Option<(u64, &'a [u8])> {
    let at = bytes.windows(text.len()).position(|here| here == text)?;
    let rest = &bytes[at + text.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((number, &rest[digits..]))
}

/// The time since 1970, in nanoseconds: the same in all processes of a machine.
#[expect(clippy::disallowed_methods, reason = "the server's clock is not fine enough for the way of a chunk")]
pub(super) fn now_nanos() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}
