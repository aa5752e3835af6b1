//! How many tokens an answer says that it has used, in the form of OpenAI's API: `usage.total_tokens`.

use serde::Deserialize;

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u64>,
}

/// What the data of an event begins with.
const DATA: &str = "data:";

/// The tokens of an answer: of a JSON object, or of the last event that says so.
pub(crate) fn reported(body: &[u8], is_event_stream: bool) -> Option<u64> {
    if !is_event_stream {
        return total(body);
    }
    let text = std::str::from_utf8(body).ok()?;
    text.lines().rev().find_map(|line| total(line.strip_prefix(DATA)?.trim().as_bytes()))
}

fn total(json: &[u8]) -> Option<u64> {
    // An array would be read as the fields of an object.
    let is_object = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let answer: Answer = serde_json::from_slice(json).ok().filter(|_| is_object)?;
    answer.usage?.total_tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_its_total() {
        let tokens = |body: &str| reported(body.as_bytes(), false);
        assert_eq!(tokens(r#"{"id":"a","usage":{"prompt_tokens":3,"total_tokens":12}}"#), Some(12));
        for other in [
            "",
            "[]",
            "{}",
            r#"{"usage":null}"#,
            r#"{"usage":{"total_tokens":-1}}"#,
            r#"{"usage":{"total_tokens":"12"}}"#,
        ] {
            assert_eq!(tokens(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_event_with_a_total_counts() {
        let tokens = |body: &str| reported(body.as_bytes(), true);
        let stream = "data: {\"usage\":{\"total_tokens\":1}}\n\ndata: {\"choices\":[]}\r\n\ndata:{\"usage\":{\"total_tokens\":7}}\r\n\ndata: [DONE]\n\n";
        assert_eq!(tokens(stream), Some(7));
        assert_eq!(tokens("event: x\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n"), None);
    }
}
