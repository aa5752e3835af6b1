//! The frames of a stream of events.

use crate::selftest::answer::Answer;
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use reqwest::header::HeaderMap;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) name: Option<String>,
    pub(super) data: String,
}

impl Frame {
    /// The data as a body of its own, so that it is compared like one.
    pub(super) fn body(&self, stream: &Answer) -> Answer {
        Answer::new(stream.request.clone(), stream.status, HeaderMap::new(), self.data.clone())
    }

    /// The data of an event that says what it is, and is named like that.
    pub(super) fn typed(&self, stream: &Answer) -> Checked<(String, Answer)> {
        let body = self.body(stream);
        let kind = body.owned("/type")?;
        let name = self.name.as_deref().unwrap_or("none");
        body.holds(name == kind, format!("the event to be named `{kind}`"), excerpt::short(name))?;
        Ok((kind, body))
    }
}

/// The frames of a stream. Clients parse whatever is in it, so that nothing but whole events may be in it, and comments in between.
pub(super) fn frames(stream: &Answer) -> Checked<Vec<Frame>> {
    let kind = stream.required_header("content-type")?;
    stream.holds(
        kind.starts_with("text/event-stream"),
        "Content-Type: text/event-stream",
        format!("{} of {}", excerpt::short(kind), excerpt::of_body(&stream.text)),
    )?;
    let ends = stream.text.ends_with("\n\n");
    stream.holds(ends, "a stream that ends with a whole event", "one that was cut off")?;
    let mut frames = Vec::new();
    for block in stream.text.split("\n\n") {
        let (mut name, mut data) = (None, None);
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let is_first = match line.split_once(": ") {
                Some(("event", text)) => name.replace(text.to_owned()).is_none(),
                Some(("data", text)) => data.replace(text.to_owned()).is_none(),
                _ => false,
            };
            stream.holds(is_first, "events of one `event:` and one `data:` line", excerpt::short(line))?;
        }
        if let Some(data) = data {
            frames.push(Frame { name, data });
        } else {
            stream.holds(name.is_none(), "`data:` in every event", excerpt::short(block))?;
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Checked<Vec<Frame>> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/event-stream".parse().unwrap());
        frames(&Answer::new("POST /x".to_owned(), 200, headers, text.to_owned()))
    }

    #[test]
    fn a_stream_is_its_events_without_its_comments() {
        let frame =
            |name: Option<&str>, data: &str| Frame { name: name.map(str::to_owned), data: data.to_owned() };
        let found = read(": x\n\nevent: a\ndata: {\"b\": 1}\n\ndata: [DONE]\n\n").unwrap();
        assert_eq!(found, [frame(Some("a"), "{\"b\": 1}"), frame(None, "[DONE]")]);
        assert_eq!(read(": x\n\n").unwrap(), []);
    }

    #[test]
    fn whatever_is_no_whole_event_is_found() {
        for text in [
            "data: a",
            "data: a\n",
            "event: a\n\n",
            "data: a\ndata: b\n\n",
            "id: 1\ndata: a\n\n",
            "data: a\n\nretry: 1\n\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
