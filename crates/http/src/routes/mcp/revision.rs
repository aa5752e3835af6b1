//! Revisions of MCP. Since 2026-07-28 each request says its revision, and its headers repeat what is in its body; clients of the revisions
//! before begin with `initialize`.

use super::error::RpcError;
use super::message::Call;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The revision in which each request says its own.
const STATED: &str = "2026-07-28";

/// The revisions that begin with `initialize`, the latest first.
const INITIALIZED: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// The key in `_meta` of what a request says its revision is.
const META: &str = "io.modelcontextprotocol/protocolVersion";

/// The key in `_meta` of what the client can do, which a request that says its revision must say, too (2026-07-28, "`_meta`").
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The revisions that are spoken, the latest first.
pub(super) fn supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(STATED).chain(INITIALIZED)
}

/// How a client and the server agree on the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// Each request says it.
    Stated,
    /// The first request has said it.
    Initialized,
}

impl Revision {
    /// The revision of a request, whose headers are those that it demands.
    ///
    /// # Errors
    /// The error for a revision that is not spoken, for headers that differ from the body (2026-07-28, "Server Validation"), or for a request
    /// that does not say what its client can do.
    pub(super) fn of(headers: &HeaderMap, call: &Call) -> Result<Self, RpcError> {
        let header = only(headers, "MCP-Protocol-Version")?;
        match (call.meta(META).next(), header) {
            (None, None) => Ok(Self::Initialized),
            (None, Some(header)) if INITIALIZED.contains(&header) => Ok(Self::Initialized),
            (None, Some(STATED)) => Err(RpcError::header_mismatch(&format!(
                "MCP-Protocol-Version is {STATED}: expected the same in params._meta[{META:?}]"
            ))),
            (None, Some(header)) => Err(unsupported(header)),
            (Some(stated), header) => {
                let stated = stated.as_str().unwrap_or_default();
                if header != Some(stated) {
                    return Err(differs("MCP-Protocol-Version", stated));
                }
                if INITIALIZED.contains(&stated) {
                    return Ok(Self::Initialized);
                }
                if stated != STATED {
                    return Err(unsupported(stated));
                }
                check_repeated(headers, call)?;
                if !call.meta(CAPABILITIES).any(Value::is_object) {
                    return Err(RpcError::missing_meta(CAPABILITIES));
                }
                Ok(Self::Stated)
            }
        }
    }

    /// The status of the response to an unknown method. Clients that say their revision expect a 404 ("Protocol Version Header"); others
    /// would take it for the end of their session.
    pub(super) const fn status_of_unknown(self) -> StatusCode {
        match self {
            Self::Stated => StatusCode::NOT_FOUND,
            Self::Initialized => StatusCode::OK,
        }
    }

    /// The revision that the server answers `initialize` with: the client's, or the latest.
    pub(super) fn agreed(call: &Call) -> &'static str {
        let wanted = call.params.get("protocolVersion").and_then(Value::as_str);
        let [latest, ..] = INITIALIZED;
        INITIALIZED.into_iter().find(|revision| Some(*revision) == wanted).unwrap_or(latest)
    }
}

/// Checks that the headers for proxies say what the body says (2026-07-28, "Standard Request Headers").
fn check_repeated(headers: &HeaderMap, call: &Call) -> Result<(), RpcError> {
    if only(headers, "Mcp-Method")? != Some(call.method.as_str()) {
        return Err(differs("Mcp-Method", &call.method));
    }
    if call.method == "tools/call" {
        let name = call.name().unwrap_or_default();
        if only(headers, "Mcp-Name")?.map(decoded).as_deref() != Some(name) {
            return Err(differs("Mcp-Name", name));
        }
    }
    Ok(())
}

/// A header's value, which may be written in base64 ("Value Encoding").
fn decoded(value: &str) -> String {
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let text = encoded.and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok());
    text.unwrap_or_else(|| value.to_owned())
}

/// The text of a header that occurs at most once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() => Ok(Some(text.trim())),
        _ => Err(RpcError::header_mismatch(&format!("{name}: expected one value in printable ASCII"))),
    }
}

fn unsupported(requested: &str) -> RpcError {
    RpcError::unsupported_version(requested, &supported().collect::<Vec<_>>())
}

fn differs(header: &str, body: &str) -> RpcError {
    let body: String = body.chars().take(100).collect();
    RpcError::header_mismatch(&format!("{header}: expected what the body says, {body:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use actix_web::test::TestRequest;
    use serde_json::json;

    fn revision(headers: &[(&str, &str)], method: &str, params: &Value) -> Result<Revision, i32> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let Ok(Message::Call(call)) = Message::read(body.as_bytes()) else { panic!("{body}") };
        let mut request = TestRequest::post();
        for header in headers {
            request = request.append_header(*header);
        }
        Revision::of(request.to_http_request().headers(), &call).map_err(|error| error.code())
    }

    #[test]
    fn a_request_that_says_nothing_was_initialized() {
        assert_eq!(revision(&[], "ping", &json!({})), Ok(Revision::Initialized));
        for known in INITIALIZED {
            assert_eq!(
                revision(&[("MCP-Protocol-Version", known)], "ping", &json!({})),
                Ok(Revision::Initialized)
            );
        }
        for unknown in ["2024-11-05", "tomorrow", ""] {
            assert_eq!(
                revision(&[("MCP-Protocol-Version", unknown)], "ping", &json!({})),
                Err(-32_022),
                "{unknown}"
            );
        }
    }

    #[test]
    fn a_request_that_says_its_revision_repeats_it_in_headers() {
        let params = json!({ "name": "ask", "_meta": { META: STATED, CAPABILITIES: {} } });
        let [version, method, name] =
            [("MCP-Protocol-Version", STATED), ("Mcp-Method", "tools/call"), ("Mcp-Name", "ask")];
        assert_eq!(revision(&[version, method, name], "tools/call", &params), Ok(Revision::Stated));
        let encoded = ("Mcp-Name", "=?base64?YXNr?=");
        assert_eq!(revision(&[version, method, encoded], "tools/call", &params), Ok(Revision::Stated));
        for wrong in [
            &[method, name][..],
            &[version, name],
            &[version, method],
            &[version, ("Mcp-Method", "tools/list"), name],
            &[version, method, ("Mcp-Name", "other")],
            &[version, method, name, name],
            &[("MCP-Protocol-Version", "2025-11-25"), method, name],
        ] {
            assert_eq!(revision(wrong, "tools/call", &params), Err(-32_020), "{wrong:?}");
        }
        assert_eq!(revision(&[version], "tools/list", &json!({})), Err(-32_020));
        let future = json!({ "_meta": { META: "2030-01-01" } });
        assert_eq!(revision(&[("MCP-Protocol-Version", "2030-01-01")], "tools/list", &future), Err(-32_022));
        let list = [version, ("Mcp-Method", "tools/list")];
        assert_eq!(
            revision(&list, "tools/list", &json!({ "_meta": { META: STATED, CAPABILITIES: {} } })),
            Ok(Revision::Stated)
        );
        for capabilities in [json!(null), json!(5)] {
            let params = json!({ "_meta": { META: STATED, CAPABILITIES: capabilities } });
            assert_eq!(revision(&list, "tools/list", &params), Err(-32_602));
        }
    }

    #[test]
    fn initialize_agrees_on_the_clients_revision_or_on_the_latest() {
        for (wanted, agreed) in
            [("2025-03-26", "2025-03-26"), ("2024-11-05", "2025-11-25"), (STATED, "2025-11-25")]
        {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": wanted } });
            let Ok(Message::Call(call)) = Message::read(body.to_string().as_bytes()) else {
                panic!("{body}")
            };
            assert_eq!(Revision::agreed(&call), agreed);
        }
    }
}
