//! What clients and backends send.

use super::*;
use crate::Spent;
use crate::backend::BackendError;
use proptest::prelude::*;
use serde_json::{Value, json};
use tithe_pricing::Usage;

fn decode(input: &Value) -> Result<EmbeddingsRequest, RequestError> {
    EmbeddingsRequest::decode(json!({"model": "e", "input": input}).to_string().as_bytes())
}

#[test]
fn every_form_of_input_is_read() {
    let texts = |texts: &[&str]| Input::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    for (input, expected) in [
        (json!("a"), texts(&["a"])),
        (json!(["a", "b"]), texts(&["a", "b"])),
        (json!([1, 2, 3]), Input::Tokens(vec![vec![1, 2, 3]])),
        (json!([[1], [2, 3]]), Input::Tokens(vec![vec![1], vec![2, 3]])),
        // The tokens of one text are not inputs.
        (json!(vec![7; 5000]), Input::Tokens(vec![vec![7; 5000]])),
    ] {
        assert_eq!(decode(&input).unwrap().task.input, expected);
    }
}

#[test]
fn a_wrong_field_is_named() {
    for (fields, param, message) in [
        (json!({"input": null}), "input", "missing input: expected a string, an array of strings, or tokens"),
        (json!({"input": ""}), "input", "invalid input: expected a text that is not empty, got \"\""),
        (json!({"input": []}), "input", "invalid input: expected at least 1 input, got none"),
        (
            json!({"input": {}}),
            "input",
            "invalid input: expected a string, an array of strings, or tokens, got an object",
        ),
        (json!({"input": ["a", 1]}), "input[1]", "invalid input[1]: expected a string, got a number"),
        (
            json!({"input": ["a", ""]}),
            "input[1]",
            "invalid input[1]: expected a text that is not empty, got \"\"",
        ),
        (
            json!({"input": [1, "a"]}),
            "input[1]",
            "invalid input[1]: expected a token, an integer from 0, got \"a\"",
        ),
        (json!({"input": [-1]}), "input[0]", "invalid input[0]: expected a token, an integer from 0, got -1"),
        (
            json!({"input": [[1], [1.5]]}),
            "input[1][0]",
            "invalid input[1][0]: expected a token, an integer from 0, got 1.5",
        ),
        (json!({"input": [[]]}), "input[0]", "invalid input[0]: expected at least 1 token, got []"),
        (
            json!({"input": [{"type": "image_url"}]}),
            "input[0]",
            "invalid input[0]: expected a string, an array of strings, or tokens, got an object",
        ),
        (json!({"input": vec!["a"; 2049]}), "input", "invalid input: expected at most 2048 inputs, got 2049"),
        (
            json!({"encoding_format": "hex"}),
            "encoding_format",
            "invalid encoding_format: expected float or base64, got \"hex\"",
        ),
        (json!({"dimensions": 0}), "dimensions", "invalid dimensions: expected an integer above 0, got 0"),
        (json!({"model": 1}), "model", "invalid model: expected a string, got a number"),
    ] {
        let mut body = json!({"model": "e", "input": "a"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let error = EmbeddingsRequest::decode(body.to_string().as_bytes()).unwrap_err();
        assert_eq!((error.param.as_deref(), error.message.as_str()), (Some(param), message));
    }
}

#[test]
fn a_backend_gets_the_request_but_for_the_model_and_the_format() {
    let body = br#"{"model":"e","input":["h\u0069"],"encoding_format":"base64","dimensions":8,"user":"u","api_base":"http://127.0.0.1"}"#;
    let request = EmbeddingsRequest::decode(body).unwrap();
    assert_eq!((request.format, request.task.dimensions), (Format::Base64, Some(8)));
    let mut out = Vec::new();
    encode_request(&mut out, &request.task, "vendor/e");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"model":"vendor/e","input":["h\u0069"],"dimensions":8,"user":"u"}"#
    );
}

#[test]
fn a_request_of_the_servers_own_is_written_whole() {
    let written = |task: &EmbeddingTask| {
        let mut out = Vec::new();
        encode_request(&mut out, task, "e");
        String::from_utf8(out).unwrap()
    };
    let texts = EmbeddingTask::of(vec!["a \"b\"".to_owned()]);
    assert_eq!(written(&texts), r#"{"model":"e","input":["a \"b\""]}"#);
    let input = Input::Tokens(vec![vec![1, 2]]);
    let tokens = EmbeddingTask { input, dimensions: Some(8), body: Vec::new() };
    assert_eq!(written(&tokens), r#"{"model":"e","input":[[1,2]],"dimensions":8}"#);
}

#[test]
fn embeddings_are_put_in_order_and_counted() {
    let element = |index: Value, embedding: Value| json!({"object": "embedding", "index": index, "embedding": embedding});
    let usage = json!({"prompt_tokens": 5, "total_tokens": 5});
    let body = json!({"data": [element(json!(1), json!([2])), element(json!(0), json!("AACAPwAAAMA="))], "usage": usage});
    let embedded = decode_reply(body.to_string().as_bytes(), 2).unwrap();
    assert_eq!(embedded.vectors, [vec![1.0, -2.0], vec![2.0]]);
    assert_eq!(embedded.usage, Some(Usage { input_tokens: 5, ..Usage::ZERO }));
    let body =
        json!({"data": [element(json!(null), json!([1])), element(json!(null), json!([2]))], "usage": null});
    let embedded = decode_reply(body.to_string().as_bytes(), 2).unwrap();
    assert_eq!((embedded.vectors, embedded.usage), (vec![vec![1.0], vec![2.0]], None));
}

#[test]
fn what_is_no_answer_is_an_error() {
    let data = |embeddings: Value| json!({"data": embeddings}).to_string();
    for body in [
        "{}".to_owned(),
        data(json!([])),
        data(json!([{"embedding": [1]}, {"embedding": [1]}])),
        data(json!([{"index": 1, "embedding": [1]}])),
        data(json!([{"embedding": []}])),
        data(json!([{"embedding": "****"}])),
        data(json!([{"embedding": "AAAA"}])),
        data(json!([{"embedding": "AADAfw=="}])),
    ] {
        let error = decode_reply(body.as_bytes(), 1).unwrap_err();
        assert!(matches!(error, BackendError::Wrong(_)), "{body}: {error:?}");
    }
    // serde_json refuses it by itself if a crate of the build has switched `float_roundtrip` on.
    let error = decode_reply(br#"{"data":[{"embedding":[1e300]}]}"#, 1).unwrap_err();
    assert!(matches!(error, BackendError::Wrong(_) | BackendError::Unreadable(_)), "{error:?}");
    let error = decode_reply(br#"{"error":{"message":"no"}}"#, 1).unwrap_err();
    assert!(matches!(error, BackendError::Reported(_)));
    let error = decode_reply(br#"{"data":[{"embedding":[null]}]}"#, 1).unwrap_err();
    assert!(matches!(error, BackendError::Unreadable(_)));
}

#[test]
fn an_answer_has_the_form_that_clients_want() {
    let spent = Spent::of(Usage { input_tokens: 5, ..Usage::ZERO });
    let vectors = [vec![1.0, -0.5], vec![0.1]];
    let encoded = |format| -> Value {
        let mut out = Vec::new();
        encode(&mut out, "e", &vectors, format, &spent);
        serde_json::from_slice(&out).unwrap()
    };
    assert_eq!(
        encoded(Format::Base64),
        json!({
            "object": "list", "model": "e", "usage": {"prompt_tokens": 5, "total_tokens": 5},
            "data": [
                {"object": "embedding", "index": 0, "embedding": "AACAPwAAAL8="},
                {"object": "embedding", "index": 1, "embedding": "zczMPQ=="},
            ],
        })
    );
    assert_eq!(encoded(Format::Float)["data"][0]["embedding"], json!([1.0, -0.5]));
}

proptest! {
    #[test]
    fn numbers_survive_either_format(
        vectors in prop::collection::vec(prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 1..20), 1..5),
        is_base64 in any::<bool>(),
    ) {
        let format = if is_base64 { Format::Base64 } else { Format::Float };
        let mut out = Vec::new();
        encode(&mut out, "e", &vectors, format, &Spent::of(Usage::ZERO));
        prop_assert_eq!(decode_reply(&out, vectors.len()).unwrap().vectors, vectors);
    }

    #[test]
    fn no_bytes_break_a_decoder(body in prop::collection::vec(any::<u8>(), 0..100), input in "[\\[\\]\",1a-]{0,20}") {
        let _ = EmbeddingsRequest::decode(&body);
        let _ = EmbeddingsRequest::decode(format!("{{\"model\":\"m\",\"input\":{input}}}").as_bytes());
        let _ = decode_reply(&body, 1);
        let _ = decode_reply(format!("{{\"data\":[{{\"embedding\":{input}}}]}}").as_bytes(), 1);
    }
}
