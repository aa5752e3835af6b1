//! What the OpenAPI document says of `GET` on the metered routes.

use crate::paid_request::PATHS;
use crate::wire::{SessionClosedBody, SessionToppedUpBody};
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, OperationBuilder};
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

const SUMMARY: &str = "Get, top up or close a session of the scheme Payment";
const DESCRIPTION: &str = "Without a credential, the response is a 402 with the challenge of a session: a deposit, which any of the metered \
    routes opens and uses (`draft-lightning-session-00`). With a credential whose `action` is `topUp`, the session is topped up; with \
    `close`, it ends, and what is left is paid to its return invoice. `POST` with these two does the same, whatever the body.";

/// The responses that are those of the route's `POST`.
const OF_POST: [&str; 4] = ["400", "401", "402", "503"];

/// Adds `GET` to the metered routes.
pub(crate) fn extend(document: &mut OpenApi) {
    for path in PATHS {
        let Some(item) = document.paths.paths.get_mut(path) else { continue };
        item.get = item.post.as_ref().map(get);
    }
}

fn get(post: &Operation) -> Operation {
    let body = OneOfBuilder::new()
        .item(Ref::from_schema_name(SessionToppedUpBody::name()))
        .item(Ref::from_schema_name(SessionClosedBody::name()));
    let done = ResponseBuilder::new()
        .description("it is topped up, or closed")
        .content("application/json", ContentBuilder::new().schema(Some(body)).build());
    let id = post.operation_id.as_deref().unwrap_or_default();
    let mut get = OperationBuilder::new()
        .operation_id(Some(format!("{id}Session")))
        .summary(Some(SUMMARY))
        .description(Some(DESCRIPTION))
        .securities(Some([
            SecurityRequirement::default(),
            SecurityRequirement::new::<_, [&str; 0], &str>("PaymentProof", []),
        ]))
        .response("200", done)
        .build();
    get.tags.clone_from(&post.tags);
    let responses = post.responses.responses.iter().filter(|(status, _)| OF_POST.contains(&status.as_str()));
    get.responses.responses.extend(responses.map(|(status, response)| (status.clone(), response.clone())));
    get
}
