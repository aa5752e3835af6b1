//! Which backends do the work on a model, in which order.
//!
//! A customer names a model; its route leads to targets, each a backend and a model of the catalogue whose prices count there. A model
//! without a route runs on the main backend under its own name.

use super::port::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tithe_chat::Api;
use tithe_pricing::{Catalogue, Model, Purpose};

/// The name of the backend that models without a route run on.
pub const MAIN_BACKEND: &str = "main";

/// Names that no other backend can have: customers read them in answers, where they mean something else.
const RESERVED: [&str; 3] = [MAIN_BACKEND, "cloud", "hardware"];

/// The route of a model, as the operator has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name that customers ask for.
    pub model: String,
    /// Where the work is done: at the first of these that can do it.
    pub targets: Vec<RouteTarget>,
}

/// A target of a route, as the operator has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// The name of the backend.
    pub backend: String,
    /// The model of the catalogue whose prices, limits and tokenizer count.
    pub model: String,
    /// The name by which the backend knows the model; `None` if that is the catalogue's.
    pub name: Option<String>,
}

/// What is wrong with the routes. The message names the row and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct RouteError {
    place: String,
    problem: String,
}

/// A place where the work on a model can be done.
#[derive(Clone)]
pub struct Target {
    /// The name of the backend.
    pub(crate) backend: Arc<str>,
    /// The model of the catalogue.
    pub(crate) model: Arc<str>,
    /// The name by which the backend knows it.
    pub(crate) name: Arc<str>,
    /// The connection, which sends that name.
    pub(crate) inference: Arc<dyn Inference>,
    /// The model whose prices count, if a quote has others: those of all targets of its route.
    pub(crate) priced: Option<Arc<Model>>,
    /// Whether customers are told which backend it is.
    pub(crate) is_told: bool,
}

/// What tells targets apart whose health may differ: the name of the backend, and the name that it is sent.
pub(crate) type TargetKey = (Arc<str>, Arc<str>);

/// The routes of models. Without any ([`Default`]), every model runs on the main backend.
#[derive(Clone, Default)]
pub struct Routes {
    by_model: BTreeMap<String, Vec<Target>>,
    /// The models of the catalogue that targets name.
    priced: BTreeMap<String, Vec<Arc<Model>>>,
    /// What the catalogue says of each model that has a route.
    covering: Vec<Model>,
    is_configured: bool,
}

impl Routes {
    /// The routes over these backends, and over `main`. A route with the name of a model of the catalogue must lead to that model
    /// first: it only adds fallbacks.
    ///
    /// # Errors
    /// [`RouteError`] for the first thing that is wrong.
    pub fn new(
        main: &Arc<dyn Inference>,
        backends: &BTreeMap<String, Arc<dyn Inference>>,
        routes: &[Route],
        catalogue: &Catalogue,
    ) -> Result<Self, RouteError> {
        if let Some(name) = backends.keys().find(|name| RESERVED.contains(&name.as_str())) {
            let problem = "reserved name: expected another one than main, cloud or hardware".to_owned();
            return Err(RouteError { place: format!("backend {name:?}"), problem });
        }
        let mut built = Self { is_configured: true, ..Self::default() };
        let names: BTreeSet<&str> = routes.iter().map(|route| route.model.as_str()).collect();
        for (row, route) in (1..).zip(routes) {
            let at =
                |problem: String| RouteError { place: format!("route {row} ({:?})", route.model), problem };
            let Route { model, targets } = route;
            if model.trim().is_empty() || model.trim() != model {
                return Err(at(format!("model: expected a name without spaces around it, got {model:?}")));
            }
            if built.by_model.contains_key(model) {
                return Err(at("model: expected each name once, got it twice".to_owned()));
            }
            let Some(first) = targets.first() else {
                return Err(at("targets: expected at least one, got none".to_owned()));
            };
            if catalogue.model(model).is_some() && first.model != *model {
                return Err(at(format!(
                    "model: {model:?} is a model of the catalogue: expected a route that leads to it first, got {:?} (its price would be hidden)",
                    first.model
                )));
            }
            let mut found = Vec::new();
            for (number, target) in (1..).zip(targets) {
                let place = format!("route {row} ({model:?}), target {number}");
                let built = built_target(main, backends, &names, catalogue, target)
                    .map_err(|problem| RouteError { place: place.clone(), problem })?;
                let is_known =
                    found.iter().any(|(known, _): &(Target, Arc<Model>)| known.key() == built.0.key());
                if let Some((_, first)) = found.first() {
                    check_replaces(first, &built.1)
                        .map_err(|problem| RouteError { place: place.clone(), problem })?;
                }
                if is_known {
                    let problem = "expected each backend and name once, got them twice".to_owned();
                    return Err(RouteError { place, problem });
                }
                found.push(built);
            }
            built.add(model, found);
        }
        Ok(built)
    }

    fn add(&mut self, name: &str, found: Vec<(Target, Arc<Model>)>) {
        let models: Vec<&Model> = found.iter().map(|(_, model)| &**model).collect();
        self.covering.extend(Model::covering(name, &models));
        let is_one = found.len() == 1;
        let (targets, models): (Vec<Target>, Vec<Arc<Model>>) = found.into_iter().unzip();
        self.priced.insert(name.to_owned(), models.clone());
        // The quote of a single target has its prices, and keeps them frozen.
        let priced = |model: Arc<Model>| (!is_one).then_some(model);
        let targets = targets.into_iter().zip(models);
        let targets = targets.map(|(target, model)| Target { priced: priced(model), ..target });
        self.by_model.insert(name.to_owned(), targets.collect());
    }

    /// The catalogue with the models that have routes: each with the smallest limits and the dearest prices of its targets.
    #[must_use]
    pub fn catalogue(&self, catalogue: &Catalogue) -> Catalogue {
        catalogue.clone().overridden_by(self.covering.iter().cloned().collect())
    }

    /// The models of the catalogue behind a name; none if it has no route.
    pub(crate) fn priced(&self, model: &str) -> &[Arc<Model>] {
        self.priced.get(model).map_or(&[], |models| models)
    }

    /// Where the work on a model is done, in order.
    pub(crate) fn targets(&self, model: &str, main: &Arc<dyn Inference>) -> Vec<Target> {
        if let Some(targets) = self.by_model.get(model) {
            return targets.clone();
        }
        vec![Target {
            backend: MAIN_BACKEND.into(),
            model: model.into(),
            name: model.into(),
            inference: Arc::clone(main),
            priced: None,
            is_told: self.is_configured,
        }]
    }

    /// The same routes over other connections.
    pub(crate) fn over(mut self, wrap: impl Fn(Arc<dyn Inference>) -> Arc<dyn Inference>) -> Self {
        for target in self.by_model.values_mut().flatten() {
            target.inference = wrap(Arc::clone(&target.inference));
        }
        self
    }

    /// Every target of every route, with the name of its backend, the name that it is sent and what its model is for: for a command that
    /// checks a configuration.
    pub fn connections(&self) -> impl Iterator<Item = (&str, &str, Purpose, &Arc<dyn Inference>)> {
        let targets =
            self.by_model.iter().flat_map(|(model, targets)| targets.iter().zip(self.priced(model)));
        targets.map(|(target, priced)| (&*target.backend, &*target.name, priced.purpose, &target.inference))
    }
}

/// Whether a model can do the work of the first one of its route. Vectors of different models cannot be compared with each other.
fn check_replaces(first: &Model, model: &Model) -> Result<(), String> {
    if model.purpose != first.purpose {
        let (wanted, got) = (first.purpose.as_str(), model.purpose.as_str());
        return Err(format!("model: expected one for {wanted}, as the first target's; got one for {got}"));
    }
    if model.purpose == Purpose::Embeddings && model.name != first.name {
        return Err(format!(
            "model: expected {:?}, because vectors of different models cannot be compared; got {:?}",
            first.name, model.name
        ));
    }
    Ok(())
}

/// A target over its connection, with its model.
fn built_target(
    main: &Arc<dyn Inference>,
    backends: &BTreeMap<String, Arc<dyn Inference>>,
    routes: &BTreeSet<&str>,
    catalogue: &Catalogue,
    target: &RouteTarget,
) -> Result<(Target, Arc<Model>), String> {
    let RouteTarget { backend, model, name } = target;
    let inference = if backend == MAIN_BACKEND { Some(main) } else { backends.get(backend) };
    let Some(inference) = inference else {
        let known: Vec<&str> =
            std::iter::once(MAIN_BACKEND).chain(backends.keys().map(String::as_str)).collect();
        return Err(format!("backend: expected one of {}, got {backend:?}", known.join(", ")));
    };
    let Some(priced) = catalogue.model(model) else {
        let hint = if routes.contains(model.as_str()) {
            "; a route cannot lead to another route"
        } else {
            "; TITHE_MODELS adds some"
        };
        return Err(format!("model: expected a model with a price in the catalogue, got {model:?}{hint}"));
    };
    let name = match name {
        None => model,
        Some(name) if name.trim().is_empty() => {
            return Err(format!("name: expected the backend's name of the model, got {name:?}"));
        }
        Some(name) => name,
    };
    let name: Arc<str> = name.as_str().into();
    let inference: Arc<dyn Inference> = if *name == **model {
        Arc::clone(inference)
    } else {
        Arc::new(Renamed { inner: Arc::clone(inference), name: Arc::clone(&name) })
    };
    let target = Target {
        backend: backend.as_str().into(),
        model: model.as_str().into(),
        name,
        inference,
        priced: None,
        is_told: true,
    };
    Ok((target, Arc::new(priced.clone())))
}

impl Target {
    /// The operator's own machine.
    pub(crate) fn hardware(inference: &Arc<dyn Inference>, model: &str) -> Self {
        Self {
            backend: "hardware".into(),
            model: model.into(),
            name: model.into(),
            inference: Arc::clone(inference),
            priced: None,
            is_told: false,
        }
    }

    pub(crate) fn key(&self) -> TargetKey {
        (Arc::clone(&self.backend), Arc::clone(&self.name))
    }

    /// The backend as customers are told it, if they are.
    pub(crate) fn told(&self) -> Option<Arc<str>> {
        self.is_told.then(|| Arc::clone(&self.backend))
    }

    /// Whether the target can be sent a chat that only backends of this API understand.
    pub(crate) fn speaks(&self, api: Api) -> bool {
        self.inference.api() == Some(api)
    }
}

/// A backend that knows a model by another name than the catalogue.
struct Renamed {
    inner: Arc<dyn Inference>,
    name: Arc<str>,
}

impl Renamed {
    fn request(&self, request: &ChatRequest) -> ChatRequest {
        ChatRequest { model: self.name.as_ref().to_owned(), ..request.clone() }
    }
}

#[async_trait]
impl Inference for Renamed {
    fn api(&self) -> Option<Api> {
        self.inner.api()
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        self.inner.complete(&self.request(request)).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        self.inner.stream(&self.request(request)).await
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        let request = EmbeddingRequest { model: self.name.as_ref().to_owned(), ..request.clone() };
        self.inner.embed(&request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    #[async_trait]
    impl Inference for Nobody {
        async fn complete(&self, _request: &ChatRequest) -> Result<Completion, InferenceError> {
            Err(InferenceError::Failed(None))
        }

        async fn stream(&self, _request: &ChatRequest) -> Result<ChatStream, InferenceError> {
            Err(InferenceError::Failed(None))
        }

        async fn embed(&self, _request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
            Err(InferenceError::Failed(None))
        }
    }

    fn target(backend: &str, model: &str, name: Option<&str>) -> RouteTarget {
        RouteTarget { backend: backend.to_owned(), model: model.to_owned(), name: name.map(str::to_owned) }
    }

    fn route(model: &str, targets: &[RouteTarget]) -> Route {
        Route { model: model.to_owned(), targets: targets.to_vec() }
    }

    fn routes(routes: &[Route]) -> Result<Routes, String> {
        let main: Arc<dyn Inference> = Arc::new(Nobody);
        let backends = BTreeMap::from([("other".to_owned(), Arc::clone(&main))]);
        Routes::new(&main, &backends, routes, &Catalogue::built_in()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_row() {
        let small = target("main", "sim-small", None);
        for (wrong, message) in [
            (vec![route("fast", &[])], "route 1 (\"fast\"): targets: expected at least one, got none"),
            (
                vec![route("fast", &[target("elsewhere", "sim-small", None)])],
                "route 1 (\"fast\"), target 1: backend: expected one of main, other, got \"elsewhere\"",
            ),
            (
                vec![route("fast", &[small.clone(), target("other", "unpriced", None)])],
                "route 1 (\"fast\"), target 2: model: expected a model with a price in the catalogue, got \"unpriced\"; TITHE_MODELS adds some",
            ),
            (
                vec![route("a", std::slice::from_ref(&small)), route("b", &[target("main", "a", None)])],
                "route 2 (\"b\"), target 1: model: expected a model with a price in the catalogue, got \"a\"; a route cannot lead to another route",
            ),
            (
                vec![route("a", &[target("main", "a", None)])],
                "route 1 (\"a\"), target 1: model: expected a model with a price in the catalogue, got \"a\"; a route cannot lead to another route",
            ),
            (
                vec![route("sim-large", std::slice::from_ref(&small))],
                "route 1 (\"sim-large\"): model: \"sim-large\" is a model of the catalogue: expected a route that leads to it first, got \
                 \"sim-small\" (its price would be hidden)",
            ),
            (
                vec![
                    route("fast", std::slice::from_ref(&small)),
                    route("fast", std::slice::from_ref(&small)),
                ],
                "route 2 (\"fast\"): model: expected each name once, got it twice",
            ),
            (
                vec![route("fast", &[small.clone(), target("main", "sim-small", Some("sim-small"))])],
                "route 1 (\"fast\"), target 2: expected each backend and name once, got them twice",
            ),
            (
                vec![route("fast", &[target("main", "sim-small", Some(" "))])],
                "route 1 (\"fast\"), target 1: name: expected the backend's name of the model, got \" \"",
            ),
            (
                vec![route(" fast", std::slice::from_ref(&small))],
                "route 1 (\" fast\"): model: expected a name without spaces around it, got \" fast\"",
            ),
        ] {
            assert_eq!(routes(&wrong).err().as_deref(), Some(message));
        }
        let main: Arc<dyn Inference> = Arc::new(Nobody);
        let reserved = BTreeMap::from([("hardware".to_owned(), Arc::clone(&main))]);
        let wrong = Routes::new(&main, &reserved, &[], &Catalogue::built_in()).err().unwrap();
        assert!(wrong.to_string().starts_with("backend \"hardware\": reserved name"), "{wrong}");
    }

    #[test]
    fn a_route_leads_to_its_targets_in_order_and_everything_else_to_the_main_backend() {
        let wanted = [target("other", "sim-small", Some("their-small")), target("main", "sim-large", None)];
        let routes = routes(&[route("fast", &wanted)]).unwrap();
        let main: Arc<dyn Inference> = Arc::new(Nobody);
        let found = |model: &str| {
            let targets = routes.targets(model, &main);
            let names = |target: &Target| format!("{} {} {}", target.backend, target.model, target.name);
            targets.iter().map(names).collect::<Vec<_>>()
        };
        assert_eq!(found("fast"), ["other sim-small their-small", "main sim-large sim-large"]);
        assert_eq!(found("sim-large"), ["main sim-large sim-large"]);
        let catalogue = routes.catalogue(&Catalogue::built_in());
        let of = |name: &str| catalogue.model(name).unwrap();
        let (fast, large) = (of("fast"), of("sim-large"));
        assert!(fast.rates.base.output >= large.rates.base.output);
        assert!(fast.context_tokens <= large.context_tokens.min(of("sim-small").context_tokens));
    }
}
