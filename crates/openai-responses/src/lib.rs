//! OpenAI's responses API.
