//! Pieces of JSON, appended to bytes.

use serde_json::value::RawValue;

/// Appends a string, quoted and escaped. It has no line breaks afterwards.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail, and neither does the serialisation of a string.
    _ = serde_json::to_writer(out, text);
}

/// Appends a number.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    _ = serde_json::to_writer(out, &number);
}

/// Appends what stands between two elements of a list: nothing before the first.
pub(crate) fn comma(out: &mut Vec<u8>, is_first: &mut bool) {
    if !std::mem::take(is_first) {
        out.push(b',');
    }
}

/// Appends the arguments of a call as the object that the API demands. Arguments that are no JSON object become
/// `{"raw":"…"}`: an empty object could make a client call a function with its defaults.
pub(crate) fn arguments(out: &mut Vec<u8>, arguments: &str) {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        out.extend_from_slice(b"{}");
    } else if arguments.starts_with('{') && serde_json::from_str::<&RawValue>(arguments).is_ok() {
        out.extend_from_slice(arguments.as_bytes());
    } else {
        out.extend_from_slice(b"{\"raw\":");
        string(out, arguments);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_always_an_object() {
        for (given, expected) in [
            ("", "{}"),
            (" {\"a\": 1} ", "{\"a\": 1}"),
            ("{\"a\":", "{\"raw\":\"{\\\"a\\\":\"}"),
            ("[1]", "{\"raw\":\"[1]\"}"),
            ("{} {}", "{\"raw\":\"{} {}\"}"),
        ] {
            let mut out = Vec::new();
            arguments(&mut out, given);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
