//! Results of JSON-RPC.

use super::message::Call;
use super::revision::Revision;
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use serde_json::{Map, Value, json};

/// The server, as results name it.
pub(super) fn server_info() -> Value {
    json!({ "name": "tithe", "title": "Tithe", "version": env!("CARGO_PKG_VERSION") })
}

/// The message with the result of a call. Since 2026-07-28 each result says that it is the whole, and from which server.
pub(super) fn message(call: &Call, revision: Revision, mut result: Map<String, Value>) -> String {
    if revision == Revision::Stated {
        result.insert("resultType".to_owned(), "complete".into());
        let meta = result.entry("_meta").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(meta) = meta {
            meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), server_info());
        }
    }
    json!({ "jsonrpc": "2.0", "id": call.id, "result": result }).to_string()
}

/// The response with the result of a call that costs nothing.
pub(super) fn respond(call: &Call, revision: Revision, result: Map<String, Value>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(message(call, revision, result))
}
