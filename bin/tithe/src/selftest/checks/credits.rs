//! What the plan of an install includes, who may present an install, and what only the operator may see.

use super::prices::order;
use crate::selftest::answer::Answer;
use crate::selftest::api::{now, random};
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::install::{Credits, INSTALL_ID, new_install, of_install};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use std::time::Duration;
use tithe_clock::SystemEntropy;
use tithe_ledger::credits::{InstallId, Plan};
use tithe_licences::{Licence, LicenceId, SigningKey};

/// Where an install reads its credits.
const CREDITS: &str = "/api/credits";

/// Where requests are asked whose payer is found by what they present.
pub(super) const ASK: &str = "/api/ask";

/// Where the operator lists the installs.
const INSTALLS: &str = "/api/admin/installs";

const LICENCE: &str = "x-license";

pub(super) fn area() -> Area {
    Area {
        name: "install-credits",
        section: "Install credits",
        checks: vec![
            Check::new(
                "credits-read",
                "a new install has what the plan core includes, and reading it changes nothing",
                |run| read(run).boxed_local(),
            ),
            Check::new(
                "credits-install-id",
                "an install id that is missing, empty, no UUID or spelled differently is a 400 that names the header",
                |run| install_id(run).boxed_local(),
            ),
            Check::new(
                "credits-licence",
                "a licence without an install is a 400, and one that is not the operator's a 401, never the plan core",
                |run| licence(run).boxed_local(),
            )
            .after(&["credits-read"]),
            Check::new(
                "admin-token",
                "the installs are listed to nobody without the token of the operator",
                |run| admin_token(run).boxed_local(),
            ),
        ],
    }
}

/// What an install without a licence has left.
pub(super) async fn credits(run: &mut Run, install: InstallId) -> Checked<Credits> {
    run.needs_path(CREDITS).await?;
    let answer = of_install(run.api.get(CREDITS), install).send().await?.status(200)?;
    answer.is_private()?;
    answer.is("/installId", install.to_string())?;
    answer.is("/plan", Plan::Core.as_str())?;
    let (remaining, cloud) =
        (answer.number_or_null("/remaining")?, answer.number_or_null("/cloudRemaining")?);
    let is_part = cloud.zip(remaining).is_none_or(|(cloud, remaining)| cloud <= remaining);
    answer.holds(is_part, "`cloudRemaining` to be a part of `remaining`", excerpt::of_body(&answer.text))?;
    answer.is_one_of("/capped", &["lifetime", "monthly", "none"])?;
    let capped = answer.text_at("/capped")?;
    let agrees = (capped == "none") == remaining.is_none();
    answer.holds(agrees, "`remaining` to be null if `capped` is `none`, and only then", answer.summary())?;
    let began = answer.time("/periodStart")?;
    match capped {
        "lifetime" => answer.is_absent("/renewsAt")?,
        "monthly" => {
            let renews = answer.time("/renewsAt")?;
            answer.holds(began < renews, format!("`renewsAt` after `periodStart`, {began}"), renews)?;
        }
        _ => {}
    }
    let (lifetime, monthly) = (answer.number("/lifetimeConsumed")?, answer.number("/monthlyConsumed")?);
    Ok(Credits { remaining, cloud, consumed: lifetime.saturating_add(monthly) })
}

/// That an install has left what it must.
pub(super) async fn has_left(run: &mut Run, install: InstallId, expected: Credits) -> Checked {
    let left = credits(run, install).await?;
    if left == expected {
        return Ok(());
    }
    Err(Stop::fault(format!("GET {CREDITS}"), expected, left))
}

async fn read(run: &mut Run) -> Checked {
    let install = new_install();
    let first = credits(run, install).await?;
    if first.consumed != 0 {
        return Err(Stop::fault(format!("GET {CREDITS}"), "a new install that has used nothing", first));
    }
    has_left(run, install, first).await
}

async fn install_id(run: &mut Run) -> Checked {
    run.needs_path(CREDITS).await?;
    run.api.get(CREDITS).send().await?.names_field(INSTALL_ID)?;
    // Something in front of the server may drop an empty header, which is then missing.
    run.api.get(CREDITS).header("x-install-id", "").send().await?.names_field(INSTALL_ID)?;
    let id = new_install().to_string();
    let asks = run.offers(ASK).await?;
    for wrong in ["install-1", &with_letters(&id).to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}")]
    {
        refused(&run.api.get(CREDITS).header("x-install-id", wrong).send().await?, wrong)?;
        if asks {
            refused(&run.api.post(ASK).header("x-install-id", wrong).json(&order()).send().await?, wrong)?;
        }
    }
    Ok(())
}

/// An id that upper case changes.
fn with_letters(id: &str) -> String {
    format!("abcdef{}", id.get(6..).unwrap_or_default())
}

fn refused(answer: &Answer, wrong: &str) -> Checked {
    if answer.status == 400 && answer.detail().contains(INSTALL_ID) {
        return Ok(());
    }
    let expected = format!("status 400 with a `detail` that names `{INSTALL_ID}` for the id `{wrong}`");
    Err(answer.fault(expected, answer.summary()))
}

/// A licence for an install, signed with a key that no server knows.
fn forged(install: InstallId) -> String {
    let (key, now) = (SigningKey::from_bytes(&random()), now());
    let (id, expires_at) = (LicenceId::random(&SystemEntropy), now + Duration::from_hours(24));
    let licence = Licence { id, install, plan: Plan::Max, issued_at: now, expires_at, key: key.id() };
    licence.sign(&key).unwrap_or_default()
}

async fn licence(run: &mut Run) -> Checked {
    let install = new_install();
    let before = credits(run, install).await?;
    let forged = forged(install);
    run.api.get(CREDITS).header(LICENCE, &forged).send().await?.names_field(INSTALL_ID)?;
    let asks = run.offers(ASK).await?;
    for wrong in ["garbage", &forged] {
        let read = of_install(run.api.get(CREDITS), install).header(LICENCE, wrong);
        read.send().await?.problem(401, "invalid_licence")?;
        if asks {
            let asked = of_install(run.api.post(ASK), install).header(LICENCE, wrong).json(&order());
            asked.send().await?.problem(401, "invalid_licence")?;
        }
    }
    has_left(run, install, before).await
}

async fn admin_token(run: &mut Run) -> Checked {
    let one = format!("{INSTALLS}/{}", new_install());
    for path in [INSTALLS, &one] {
        for call in [run.api.get(path), run.api.get(path).bearer("garbage")] {
            let answer = call.send().await?;
            answer.holds(matches!(answer.status, 401 | 404), "status 401 or 404", answer.summary())?;
        }
    }
    Ok(())
}
