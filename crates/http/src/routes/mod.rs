//! The routes. [`for_each_route`] lists them; the `utoipa::path` of each handler defines its path and method.

pub(crate) mod admin;
pub(crate) mod ai_account;
pub(crate) mod ai_models;
pub(crate) mod asks;
pub(crate) mod bootstraps;
pub(crate) mod chat_completions;
pub(crate) mod credits;
pub(crate) mod dev;
pub(crate) mod docs;
pub(crate) mod embeddings;
pub(crate) mod estimate;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod invoices;
pub(crate) mod jobs;
pub(crate) mod mcp;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod payments;
pub(crate) mod plain_answer;
pub(crate) mod pool;
pub(crate) mod problems;
pub(crate) mod receipts;
pub(crate) mod refunds;
pub(crate) mod responses;
pub(crate) mod session_work;
pub(crate) mod sessions;
pub(crate) mod solvency;

use crate::paid_request;
use crate::payment_sessions;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use crate::telemetry::RoutePattern;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route, guard};
use tithe_engine::EngineError;
use tithe_engine::log::chain;
use tithe_lightning::PaymentHash;
use tithe_money::MoneyError;
use tracing::error;
use utoipa::openapi::HttpMethod;

/// Calls a macro with every route: how it is served, its handler, and the type that `utoipa::path` generates for it.
///
/// A `read` route accepts GET and HEAD, a `written` route its own method. A `dev` route exists only in development, an
/// `admin` route only if the operator has set a token for it, and so does the `metrics` route.
macro_rules! for_each_route {
    ($callback:ident) => {
        $callback! {
            read estimate::estimate as __path_estimate,
            written estimate::estimate_text as __path_estimate_text,
            read models::list as __path_list,
            written jobs::create as __path_create,
            read jobs::list as __path_list,
            read jobs::read as __path_read,
            read events::events as __path_events,
            written refunds::of_job as __path_of_job,
            written sessions::create as __path_create,
            read sessions::read as __path_read,
            written session_work::request as __path_request,
            read sessions::requests as __path_requests,
            written sessions::top_up as __path_top_up,
            written sessions::close as __path_close,
            read sessions::keys as __path_keys,
            written sessions::revoke as __path_revoke,
            written asks::ask as __path_ask,
            written mcp::post as __path_post,
            read ai_models::list as __path_list,
            read ai_models::read as __path_read,
            read ai_account::credits as __path_credits,
            read ai_account::key as __path_key,
            read ai_account::generation as __path_generation,
            written chat_completions::create as __path_create,
            written responses::create as __path_create,
            written embeddings::create as __path_create,
            written messages::create as __path_create,
            written messages::count_tokens as __path_count_tokens,
            read payments::read as __path_read,
            written payments::refund as __path_refund,
            read receipts::read as __path_read,
            read credits::read as __path_read,
            read bootstraps::plans as __path_plans,
            written bootstraps::create as __path_create,
            read bootstraps::read as __path_read,
            written refunds::of_bootstrap as __path_of_bootstrap,
            written identity::challenge as __path_challenge,
            written identity::verify as __path_verify,
            read identity::me as __path_me,
            read pool::read as __path_read,
            read solvency::read as __path_read,
            read invoices::read as __path_read,
            admin admin::installs as __path_installs,
            admin admin::install as __path_install,
            dev dev::pay as __path_pay,
            dev dev::invoice as __path_invoice,
            read health::alive as __path_alive,
            read health::ready as __path_ready,
            metrics metrics::page as __path_page,
            read problems::list as __path_list,
            read problems::read as __path_read,
        }
    };
}
pub(crate) use for_each_route;

/// How a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Read,
    Written,
    Dev,
    Admin,
    Metrics,
}

/// Which of the routes exist that depend on the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptionalRoutes {
    /// Whether the routes for development exist.
    pub(crate) dev: bool,
    /// Whether the operator's routes exist.
    pub(crate) admin: bool,
    /// Whether the page of metrics exists.
    pub(crate) metrics: bool,
}

impl OptionalRoutes {
    const fn serves(self, served: Served) -> bool {
        match served {
            Served::Read | Served::Written => true,
            Served::Dev => self.dev,
            Served::Admin => self.admin,
            Served::Metrics => self.metrics,
        }
    }
}

macro_rules! configure_routes {
    ($($served:ident $module:ident::$handler:ident as $path:ident,)*) => {
        /// Registers all routes that exist.
        pub(crate) fn configure(optional: OptionalRoutes) -> impl FnOnce(&mut ServiceConfig) {
            move |config| {
                docs::configure(config);
                // Claude Code looks whether there is anything before it begins.
                let there_is = web::head().to(|| async { HttpResponse::Ok().finish() });
                config.service(web::resource("/").route(there_is).default_service(web::to(nothing_here)));
                let mut resources = Resources::default();
                $(
                    let served = served!($served);
                    if optional.serves(served) {
                        resources.add::<$module::$path, _, _>(served, $module::$handler);
                    }
                )*
                resources.register(config);
                config.default_service(web::to(nothing_here));
            }
        }
    };
}

macro_rules! served {
    (read) => {
        Served::Read
    };
    (written) => {
        Served::Written
    };
    (dev) => {
        Served::Dev
    };
    (admin) => {
        Served::Admin
    };
    (metrics) => {
        Served::Metrics
    };
}

for_each_route!(configure_routes);

/// The resources of the documented handlers, one for each path.
#[derive(Default)]
struct Resources(Vec<PathRoutes>);

/// The routes of one path.
struct PathRoutes {
    path: String,
    resource: Resource,
    allowed: Vec<&'static str>,
}

impl Resources {
    fn add<P, F, Args>(&mut self, served: Served, handler: F)
    where
        P: utoipa::Path,
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let (route, methods): (Route, &[&'static str]) = match (served, P::methods().as_slice()) {
            // A server must support HEAD wherever it supports GET (RFC 9110, section 9.1).
            (Served::Read | Served::Metrics, _) | (Served::Admin, [HttpMethod::Get]) => {
                (web::route().guard(guard::Any(guard::Get()).or(guard::Head())), &["GET", "HEAD"])
            }
            (_, [HttpMethod::Delete]) => (web::delete(), &["DELETE"]),
            (_, _) => (web::post(), &["POST"]),
        };
        let (path, route) = (P::path(), route.to(handler));
        if let Some(n) = self.0.iter().position(|routes| routes.path == path) {
            let mut routes = self.0.swap_remove(n);
            routes.resource = routes.resource.route(route);
            routes.allowed.extend(methods);
            self.0.push(routes);
        } else {
            let resource = web::resource(pattern(&path)).app_data(RoutePattern::new(&path)).route(route);
            self.0.push(PathRoutes { path, resource, allowed: methods.to_vec() });
        }
    }

    /// Requests with methods that a path does not have get a problem response.
    fn register(self, config: &mut ServiceConfig) {
        for PathRoutes { path, resource, mut allowed } in self.0 {
            let is_metered = paid_request::PATHS.contains(&path.as_str());
            if is_metered {
                allowed.extend(["GET", "HEAD"]);
            }
            allowed.sort_unstable();
            let allowed = allowed.join(", ");
            let other = move |state: Data<AppState>, request: HttpRequest| {
                let allowed = allowed.clone();
                async move {
                    if is_metered {
                        return payment_sessions::without_body(&state, &request, &allowed).await;
                    }
                    Err::<HttpResponse, _>(Problem::method(request.method().as_str(), &allowed))
                }
            };
            config.service(resource.default_service(web::to(other)));
        }
    }
}

/// The pattern of a path: names of models may contain slashes.
fn pattern(path: &str) -> String {
    path.replace("{model}", "{model:.+}")
}

async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path: String = request.path().chars().take(200).collect();
    Err(Problem::new(Code::NotFound, format!("unknown path: expected a path listed in /docs, got {path}")))
}

/// Parses the payment hash in a path.
fn payment_hash(text: &str) -> Result<PaymentHash, Problem> {
    text.parse().map_err(|wrong| Problem::field("paymentHash", wrong))
}

/// Converts the result of building a response body. An amount out of range is a bug.
fn written<T>(body: Result<T, MoneyError>) -> Result<T, Problem> {
    body.map_err(|failure| {
        error!(error = chain(&failure), "failed to build the response: amount out of range");
        Problem::from(EngineError::Internal)
    })
}
