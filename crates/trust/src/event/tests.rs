//! Events, good and bad.

use super::*;
use crate::testing::{NOW, alice};
use proptest::prelude::*;
use serde_json::json;

/// The event that NIP-98 prints. Its `u` tag was called `url` when it was signed, as the header that the NIP prints
/// still has it: its id is that of the other event.
const NIP_98: &str = r#"{
    "id": "fe964e758903360f28d8424d092da8494ed207cba823110be3a57dfe4b578734",
    "pubkey": "63fe6318dc58583cfe16810f86dd09e18bfd76aabc24a0081ce2856f330504ed",
    "content": "",
    "kind": 27235,
    "created_at": 1682327852,
    "tags": [["u", "https://api.snort.social/api/v1/n5sp/list"], ["method", "GET"]],
    "sig": "5ed9d8ec958bc854f997bdc24ac337d005af372324747efe4a00e24f4c30437ff4dd8308684bed467d9d6be3e5a517bb43b1732cc7d33949a3aaf86705c22184"
}"#;

/// One that a relay has kept: <https://github.com/nostrdevkit/nostr>, `crates/nostr/src/event/mod.rs`.
const KEPT: &str = r#"{"id":"2be17aa3031bdcb006f0fce80c146dea9c1c0268b0af2398bb673365c6444d45","pubkey":"f86c44a2de95d9149b51c6a29afeabba264c18e2fa7c49de93424a0c56947785","created_at":1640839235,"kind":4,"tags":[["p","13adc511de7e1cfcf1c6b7f6365fb5a03442d7bcacf565ea57fa7770912c023d"]],"content":"uRuvYr585B80L6rSJiHocw==?iv=oh6LVqdsYYol3JfFnXTbPA==","sig":"a5d9290ef9659083c490b303eb7ee41356d8778ff19f2f91776c8dc4443388a64ffcf336e61af4c25c05ac3ae952d1ced889ed655b67790891222aaa15b99fdd"}"#;

fn good() -> Value {
    let tags: [&[&str]; 4] = [&["t"], &["u", "one", "more"], &["t", "two"], &["u", "three"]];
    serde_json::from_str(&alice().sign(27235, &tags, "Ünïcode \u{1}\"", NOW, [3; 32])).unwrap()
}

fn with(field: &str, value: Value) -> Result<VerifiedEvent, InvalidEvent> {
    let mut event = good();
    event[field] = value;
    let read = VerifiedEvent::from_value(&event);
    assert_eq!(VerifiedEvent::parse(&event.to_string()), read);
    read
}

#[test]
fn a_signed_event_says_what_it_said() {
    let event = VerifiedEvent::from_value(&good()).unwrap();
    assert_eq!(hex::encode(event.id()), good()["id"]);
    assert_eq!(event.pubkey(), alice().pubkey());
    assert_eq!(event.kind(), 27235);
    assert_eq!(event.created_at(), NOW);
    assert_eq!(event.content(), "Ünïcode \u{1}\"");
}

#[test]
fn a_tag_is_the_first_of_its_name_that_has_a_value() {
    let event = VerifiedEvent::from_value(&good()).unwrap();
    assert_eq!((event.tag("t"), event.only_tag("t")), (Some("two"), Some("two")));
    assert_eq!((event.tag("u"), event.only_tag("u")), (Some("one"), None));
    assert_eq!((event.tag("x"), event.only_tag("x")), (None, None));
    assert_eq!(event.values("u").collect::<Vec<_>>(), ["one", "three"]);
}

#[test]
fn published_events_are_proved() {
    assert_eq!(VerifiedEvent::parse(NIP_98), Err(InvalidEvent::Id));
    let event = VerifiedEvent::parse(&NIP_98.replace(r#"["u","#, r#"["url","#)).unwrap();
    assert_eq!((event.kind(), event.tag("method")), (27235, Some("GET")));
    assert_eq!(event.created_at().to_string(), "2023-04-24T09:17:32.000000Z");
    assert_eq!(VerifiedEvent::parse(KEPT).unwrap().kind(), 4);
}

#[test]
fn every_field_is_needed() {
    for field in ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"] {
        let mut event = good();
        event.as_object_mut().unwrap().remove(field);
        let error = VerifiedEvent::from_value(&event).unwrap_err();
        assert!(matches!(error, InvalidEvent::Field { field: found, .. } if found == field), "{error:?}");
        assert!(error.is_malformed());
        assert!(
            error.to_string().starts_with(&format!("invalid event field `{field}`: expected ")),
            "{error}"
        );
        assert!(
            matches!(with(field, Value::Null), Err(InvalidEvent::Field { field: found, .. }) if found == field)
        );
    }
}

#[test]
fn a_field_of_another_shape_is_named() {
    let upper = |field: &str| json!(good()[field].as_str().unwrap().to_uppercase());
    let long = |field: &str| json!(format!("{}0", good()[field].as_str().unwrap()));
    let many: Vec<_> = (0..101).map(|_| ["t"]).collect();
    for (field, value) in [
        ("id", upper("id")),
        ("id", long("id")),
        ("id", json!("")),
        ("id", json!(1)),
        ("id", json!("é".repeat(32))),
        ("pubkey", upper("pubkey")),
        ("pubkey", long("pubkey")),
        ("pubkey", json!(alice().pubkey().npub())),
        ("sig", upper("sig")),
        ("sig", long("sig")),
        ("sig", json!("z".repeat(128))),
        ("sig", good()["id"].clone()),
        ("kind", json!(65536)),
        ("kind", json!(-1)),
        ("kind", json!(1.5)),
        ("kind", json!("27235")),
        ("created_at", json!(-1)),
        ("created_at", json!(1.5)),
        ("created_at", json!(NOW.to_string())),
        ("created_at", json!("1769860800")),
        ("created_at", json!(u64::MAX)),
        ("created_at", json!(253_402_300_800_u64)),
        ("tags", json!({})),
        ("tags", json!("")),
        ("tags", json!([[]])),
        ("tags", json!(["u"])),
        ("tags", json!([["u", 1]])),
        ("tags", json!([["u", null]])),
        ("tags", json!([[["u"]]])),
        ("tags", json!(many)),
        ("content", json!(1)),
        ("content", json!([])),
    ] {
        let error = with(field, value.clone()).unwrap_err();
        assert!(
            matches!(error, InvalidEvent::Field { field: found, .. } if found == field),
            "{value}: {error:?}"
        );
    }
}

#[test]
fn what_is_no_object_is_told_so() {
    for text in ["", "x", "[]", "null", "\"{}\"", "{} {}", "{\"id\":", "\u{feff}{}", &"[".repeat(10_000)] {
        assert_eq!(VerifiedEvent::parse(text), Err(InvalidEvent::NotAnObject), "{text:.20}");
    }
}

#[test]
fn an_event_that_says_something_else_has_another_id() {
    let say = |field: &str, value: Value| assert_eq!(with(field, value), Err(InvalidEvent::Id), "{field}");
    say("id", json!("0".repeat(64)));
    say("pubkey", json!("7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"));
    say("created_at", json!(1_769_860_801));
    say("kind", json!(22242));
    say("tags", json!([]));
    say("content", json!("Ünïcode \u{1}"));
    assert!(!InvalidEvent::Id.is_malformed());
}

#[test]
fn a_signature_with_any_bit_flipped_is_refused() {
    let sig: [u8; 64] = lowercase_hex(good()["sig"].as_str().unwrap()).unwrap();
    for bit in 0..512 {
        let mut flipped = sig;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(with("sig", json!(hex::encode(flipped))), Err(InvalidEvent::Signature), "bit {bit}");
    }
    for wrong in ["0", "f"] {
        assert_eq!(with("sig", json!(wrong.repeat(128))), Err(InvalidEvent::Signature));
    }
    assert!(!InvalidEvent::Signature.is_malformed());
}

/// All but the signature fits: the id is that of the other key's event.
fn as_if_of(pubkey: &str) -> Result<VerifiedEvent, InvalidEvent> {
    let mut event = good();
    let said = json!([0, pubkey, event["created_at"], event["kind"], event["tags"], event["content"]]);
    event["pubkey"] = json!(pubkey);
    event["id"] = json!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(said.to_string())));
    VerifiedEvent::from_value(&event)
}

#[test]
fn nobody_signs_for_another_key_or_for_one_that_is_none() {
    assert!(as_if_of(&alice().pubkey().to_string()).is_ok());
    let other = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
    assert_eq!(as_if_of(other), Err(InvalidEvent::Signature));
    for nobody in ["0", "f"] {
        assert_eq!(as_if_of(&nobody.repeat(64)), Err(InvalidEvent::NotOnCurve));
    }
    assert!(!InvalidEvent::NotOnCurve.is_malformed());
}

#[test]
fn a_larger_event_than_16_kib_is_not_looked_at() {
    let of = |length: usize| alice().sign(1, &[], &"x".repeat(length), NOW, [0; 32]);
    let room = JSON_BYTES_MAX - of(0).len();
    for (length, read) in [(room, true), (room + 1, false)] {
        let text = of(length);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(VerifiedEvent::parse(&text).is_ok(), read);
        assert_eq!(VerifiedEvent::from_value(&value).is_ok(), read);
        assert!(read || VerifiedEvent::from_value(&value) == Err(InvalidEvent::TooLarge));
        assert!(read || VerifiedEvent::parse(&text) == Err(InvalidEvent::TooLarge));
    }
    assert_eq!(VerifiedEvent::parse(&" ".repeat(20_000)), Err(InvalidEvent::TooLarge));
}

#[test]
fn a_hundred_tags_are_taken_and_fields_that_are_none_of_ours() {
    let tags: Vec<&[&str]> = (0..100).map(|_| &["t"][..]).collect();
    let mut event: Value = serde_json::from_str(&alice().sign(1, &tags, "", NOW, [0; 32])).unwrap();
    event["relays"] = json!([1]);
    assert!(VerifiedEvent::from_value(&event).is_ok());
}

/// JSON of any shape, with our fields' names in it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|[0-9a-f]{64}|[0-9a-f]{128}".prop_map(Value::from),
    ];
    let name = "id|pubkey|created_at|kind|tags|content|sig|\\PC{0,3}";
    leaf.prop_recursive(3, 32, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC*|\\{.*\\}") {
        prop_assert!(VerifiedEvent::parse(&text).is_err());
    }

    #[test]
    fn any_json_is_refused_without_a_panic(value in any_json()) {
        prop_assert!(VerifiedEvent::from_value(&value).is_err());
    }

    #[test]
    fn any_json_in_a_field_is_judged(field in "id|pubkey|created_at|kind|tags|content|sig", value in any_json()) {
        let unchanged = good()[&field] == value;
        prop_assert_eq!(with(&field, value).is_ok(), unchanged);
    }

    #[test]
    fn whatever_is_signed_is_proved(
        kind in any::<u16>(),
        tags in proptest::collection::vec(proptest::collection::vec(any::<String>(), 1..4), 0..5),
        content in any::<String>(),
        seconds in 0_i64..253_402_300_800,
        aux in any::<[u8; 32]>(),
    ) {
        let tags: Vec<Vec<&str>> = tags.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
        let slices: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        let at = Timestamp::from_unix_micros(seconds * 1_000_000).unwrap();
        let event = VerifiedEvent::parse(&alice().sign(kind, &slices, &content, at, aux)).unwrap();
        prop_assert_eq!((event.kind(), event.created_at(), event.content()), (kind, at, content.as_str()));
        prop_assert_eq!(event.tags, tags);
    }
}
