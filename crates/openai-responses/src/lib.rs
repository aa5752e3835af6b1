//! OpenAI's responses API, the side of a server: it reads requests into a [`tithe_chat::Chat`], and writes answers and errors.
//!
//! The server stores no responses: each request brings the whole conversation, and `store` is answered with `false`. The event sequence
//! of streams is what Codex and OpenAI's SDKs read.
//!
//! ```
//! use tithe_chat::{Delta, Finish};
//! use tithe_openai_responses::{Encoder, Outcome, ResponseHead, ResponsesRequest};
//! use tithe_pricing::Usage;
//!
//! let request = ResponsesRequest::decode(br#"{"model": "small", "input": "Hello!", "stream": true}"#)?;
//! assert_eq!(request.model, "small");
//!
//! let mut encoder = Encoder::new(ResponseHead::new("resp_1", 1_800_000_000, &request));
//! let mut events = Vec::new();
//! encoder.start(&mut events);
//! encoder.push(&Delta::Text("Good morning.".into()), &mut events);
//! let usage = Usage { input_tokens: 8, output_tokens: 3, ..Usage::ZERO };
//! let outcome = Outcome { finish: Finish::Stop, usage, charge: None, completed_at: 1_800_000_001 };
//! encoder.finish(&outcome, &mut events);
//! assert!(String::from_utf8_lossy(&events).contains("event: response.completed\n"));
//! # Ok::<(), tithe_openai_responses::RequestError>(())
//! ```

mod custom_input;
mod echo;
mod error;
mod field;
mod items;
mod json;
mod output;
mod request;
mod response;
mod stream;
mod tools;

pub use error::{ErrorBody, RequestError};
pub use request::ResponsesRequest;
pub use response::{FailureCode, Outcome, ResponseHead, write_response};
pub use stream::{Encoder, KEEP_ALIVE};
