//! Files that are no credits files.

use crate::{ID, NOW, at, row};
use serde_json::json;
use tithe_relay_file::{RelayFileError, read};

/// Why a file is refused as a whole.
fn why(text: impl AsRef<[u8]>) -> String {
    read(text, at(NOW)).unwrap_err().to_string()
}

#[test]
fn the_file_must_be_an_object_with_rows() {
    let object = "not a credits file: expected an object with the field `rows`, got ";
    for (text, shown) in [
        ("[]", "a list"),
        ("[{\"rows\": {}}]", "a list"),
        ("null", "null"),
        ("3", "3"),
        (r#""rows""#, r#""rows""#),
    ] {
        assert_eq!(why(text), format!("{object}{shown}"));
    }
    let missing =
        "not a credits file: missing field `rows`: expected an object with a row for each install id";
    for text in ["{}", r#"{"rows": null}"#, r#"{"Rows": {}}"#, &format!(r#"{{"{ID}": {{}}}}"#)] {
        assert_eq!(why(text), missing, "{text}");
    }
    let invalid =
        "not a credits file: invalid field `rows`: expected an object with a row for each install id, got ";
    for (text, shown) in [("[]", "a list"), ("7", "7"), ("\"\"", "\"\"")] {
        assert_eq!(why(format!(r#"{{"rows": {text}}}"#)), format!("{invalid}{shown}"));
    }
    for second in ["{}", "null", "[]"] {
        let duplicate = "not a credits file: duplicate field `rows`: expected one, got several";
        assert_eq!(why(format!(r#"{{"rows": {{"X": {{}}}}, "rows": {second}}}"#)), duplicate);
    }
    assert_eq!(read(r#"{"rows": {}}"#, at(NOW)).unwrap().rows, []);
}

#[test]
fn what_is_no_json_is_refused_with_its_line_and_column() {
    assert_eq!(why(""), "invalid JSON: EOF while parsing a value at line 1, column 0");
    assert_eq!(why("install,credits\n"), "invalid JSON: expected value at line 1, column 1");
    assert_eq!(why("{\"rows\": {}}\n\n  x"), "invalid JSON: trailing characters at line 3, column 3");
    assert_eq!(why("{\"rows\":\n{},\n}"), "invalid JSON: trailing comma at line 3, column 1");
    assert_eq!(
        why(b"{\"rows\": {\"\xff\": {}}}"),
        "invalid JSON: invalid unicode code point at line 1, column 12"
    );
    assert_eq!(why("{\"rows\": {\"a\": 1e999}}"), "invalid JSON: number out of range at line 1, column 20");
    assert!(matches!(read("{", at(NOW)), Err(RelayFileError::Syntax { line: 1, column: 1, .. })));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let text = json!({"rows": {ID: row()}, "é": [1.5, {"a": null}]}).to_string();
    assert!(read(&text, at(NOW)).is_ok());
    for end in 0..text.len() {
        let cut = text.as_bytes().split_at(end).0;
        assert!(matches!(read(cut, at(NOW)), Err(RelayFileError::Syntax { .. })), "{end}");
    }
}

#[test]
fn an_error_of_the_file_comes_before_those_of_its_rows() {
    assert!(why(r#"{"rows": {"X": {}}"#).starts_with("invalid JSON: EOF"));
}

#[test]
fn the_mark_at_the_beginning_of_a_file_is_skipped() {
    assert!(read("\u{feff}{\"rows\": {}}", at(NOW)).is_ok());
    assert!(read("\u{feff}\u{feff}{\"rows\": {}}", at(NOW)).is_err());
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = "[".repeat(200_000);
    for text in
        [deep.clone(), format!(r#"{{"rows": {{"{ID}": {{"x": {deep}"#), format!(r#"{{"rows": {deep}"#)]
    {
        assert!(matches!(read(text, at(NOW)), Err(RelayFileError::Syntax { .. })));
    }
    let objects = "{\"rows\":".repeat(200_000);
    assert!(matches!(read(objects, at(NOW)), Err(RelayFileError::Syntax { .. })));
    let closed =
        format!(r#"{{"rows": {{"{ID}": {{"month": {}{}}}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(read(closed, at(NOW)), Err(RelayFileError::Refused(_))));
}
