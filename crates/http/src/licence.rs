//! The licence that an install presents.

use crate::problem::Problem;
use crate::state::AppState;
use tithe_engine::credits::PresentedInstall;

/// Refuses a licence that was revoked, for a request that somebody else pays for.
pub(crate) async fn check_licence(
    state: &AppState,
    install: Option<PresentedInstall>,
) -> Result<(), Problem> {
    let Some(install) = install.filter(|install| install.licence.is_some()) else { return Ok(()) };
    let credits = state.engine.credits.clone();
    state.run(async move { credits.balance(&install).await }).await.map(|_valid| ())
}
