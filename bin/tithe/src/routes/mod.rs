//! Routes: the file of `TITHE_ROUTES`, and the backends that it names.

mod file;

use crate::adapters::backend;
use crate::config::Config;
use crate::failure::{Failure, doing};
use file::RoutesFile;
use std::collections::BTreeMap;
use std::sync::Arc;
use tithe_clock::{Clock, Entropy};
use tithe_engine::inference::{Inference, Route, Routes};
use tithe_pricing::Catalogue;

/// Says which file is wrong.
fn cannot_use<E: Into<Failure>>(config: &Config) -> impl FnOnce(E) -> Failure {
    let path = config.inference.routes.as_deref().unwrap_or_else(|| std::path::Path::new(""));
    let what = format!("cannot use the routes in {} (TITHE_ROUTES)", path.display());
    move |wrong| doing(what)(wrong).into()
}

/// What the file says; `None` without a file.
fn file(config: &Config) -> Result<Option<RoutesFile>, Failure> {
    let file = config.inference.routes.as_deref().map(RoutesFile::read).transpose();
    file.map_err(cannot_use(config))
}

/// Where the work on models is done that do not run on the main backend alone.
pub(crate) fn routes(
    config: &Config,
    main: &Arc<dyn Inference>,
    catalogue: &Catalogue,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Routes, Failure> {
    let Some(file) = file(config)? else { return Ok(Routes::default()) };
    let mut backends = BTreeMap::new();
    for (name, connection) in &file.backends {
        check_use(config, name, connection.is_simulated()).map_err(cannot_use(config))?;
        let connected = backend(connection, clock, entropy).map_err(cannot_use(config))?;
        backends.insert(name.clone(), connected);
    }
    Routes::new(main, &backends, &file.routes, catalogue).map_err(cannot_use(config))
}

/// The same over one connection, for commands that run no model.
pub(crate) fn over(
    config: &Config,
    inference: &Arc<dyn Inference>,
    catalogue: &Catalogue,
) -> Result<Routes, Failure> {
    let Some(file) = file(config)? else { return Ok(Routes::default()) };
    let backends = file.backends.iter().map(|(name, _)| (name.clone(), Arc::clone(inference))).collect();
    Routes::new(inference, &backends, &file.routes, catalogue).map_err(cannot_use(config))
}

/// The routes as they are written.
pub(crate) fn written(config: &Config) -> Result<Vec<Route>, Failure> {
    Ok(file(config)?.unwrap_or_default().routes)
}

/// Whether any backend is real.
pub(crate) fn has_real(config: &Config) -> Result<bool, Failure> {
    Ok(file(config)?.unwrap_or_default().backends.iter().any(|(_, connection)| !connection.is_simulated()))
}

/// The names of the simulated backends.
pub(crate) fn simulated(config: &Config) -> Result<Vec<String>, Failure> {
    let backends = file(config)?.unwrap_or_default().backends;
    let simulated = backends.into_iter().filter(|(_, connection)| connection.is_simulated());
    Ok(simulated.map(|(name, _)| name).collect())
}

/// Production runs on nothing that is simulated, and play money buys no real work from strangers.
fn check_use(config: &Config, name: &str, is_simulated: bool) -> Result<(), String> {
    if is_simulated && config.is_production() {
        return Err(format!(
            "backend {name:?}: kind: TITHE_ENV=production does not run on the simulated inference"
        ));
    }
    let is_public = !config.server.listen.ip().is_loopback();
    if !is_simulated && config.server.dev && is_public {
        return Err(format!(
            "backend {name:?}: TITHE_DEV=1 lets anybody pay with play money, so with a real AI backend it serves only on a \
             loopback address (TITHE_LISTEN)"
        ));
    }
    Ok(())
}
