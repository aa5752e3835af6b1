//! Messages of MCP, for the API's document: they are read and written member by member.

use utoipa::ToSchema;

/// A request of JSON-RPC 2.0, or a notification, which has no id.
#[derive(ToSchema)]
#[schema(example = json!({
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": { "name": "ask", "arguments": { "request": "Why is the sky blue?", "maxOutputTokens": 500 } },
}))]
#[expect(dead_code, reason = "the type exists for the API's document only")]
pub(crate) struct McpRequestBody {
    /// `2.0`.
    jsonrpc: String,
    /// The id, a string or a number. The response has the same.
    #[schema(value_type = Option<Value>, nullable = false)]
    id: Option<serde_json::Value>,
    /// The method: `initialize`, `server/discover`, `ping`, `tools/list` or `tools/call`.
    method: String,
    /// The parameters.
    #[schema(value_type = Option<Object>, nullable = false)]
    params: Option<serde_json::Value>,
}

/// A response of JSON-RPC 2.0: a result, or an error.
#[derive(ToSchema)]
#[schema(example = json!({
    "jsonrpc": "2.0", "id": 1,
    "result": { "content": [{ "type": "text", "text": "Air scatters blue light more." }], "isError": false },
}))]
#[expect(dead_code, reason = "the type exists for the API's document only")]
pub(crate) struct McpResponseBody {
    /// `2.0`.
    jsonrpc: String,
    /// The id of the request; absent if it could not be read.
    #[schema(value_type = Option<Value>, nullable = false)]
    id: Option<serde_json::Value>,
    /// The result. A tool's own failure is a result, too, with `isError`.
    #[schema(value_type = Option<Object>, nullable = false)]
    result: Option<serde_json::Value>,
    /// The error, with `code`, `message` and perhaps `data`.
    #[schema(value_type = Option<Object>, nullable = false)]
    error: Option<serde_json::Value>,
}
