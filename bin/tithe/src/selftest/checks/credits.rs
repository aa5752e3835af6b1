//! What the plan of an install includes, who may present an install, and what only the operator may see.

use super::prices::order;
use crate::selftest::answer::Answer;
use crate::selftest::api::{Call, now, random};
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use std::time::Duration;
use tithe_clock::SystemEntropy;
use tithe_ledger::credits::{InstallId, Plan};
use tithe_licences::{Licence, LicenceId, SigningKey, uuid::Builder};

/// Where an install reads its credits.
const CREDITS: &str = "/api/credits";

/// Where requests are asked whose payer is found by what they present.
pub(super) const ASK: &str = "/api/ask";

/// Where the operator lists the installs.
const INSTALLS: &str = "/api/admin/installs";

const INSTALL_ID: &str = "X-Install-Id";
const LICENCE: &str = "X-License";

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

/// What an install has left, and what it has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credits {
    /// The requests that are left; `None` for any number.
    pub(super) remaining: Option<u64>,
    /// How many of them may run in the cloud; `None` for any number.
    pub(super) cloud: Option<u64>,
    /// The requests that were done, of whatever plan.
    pub(super) consumed: u64,
}

impl Credits {
    /// What there must be after one more request, which ran on `backend`; `None` if the plan did not include it there.
    pub(super) fn after_one_on(self, backend: &str) -> Option<Self> {
        let remaining = less_one(self.remaining)?;
        let cloud = if backend == "cloud" {
            less_one(self.cloud)?
        } else {
            // Hardware does what the cloud may not.
            self.cloud.filter(|cloud| *cloud == 0).map(Some)?
        };
        Some(Self { remaining, cloud, consumed: self.consumed.saturating_add(1) })
    }
}

/// One less, of a number or of any number; `None` if there is none left.
const fn less_one(left: Option<u64>) -> Option<Option<u64>> {
    match left {
        None => Some(None),
        Some(0) => None,
        Some(left) => Some(Some(left - 1)),
    }
}

/// The id of an install that no server has seen.
pub(super) fn new_install() -> InstallId {
    InstallId::new(Builder::from_random_bytes(random()).into_uuid())
}

/// A request of an install.
pub(super) fn of_install(call: Call<'_>, install: InstallId) -> Call<'_> {
    call.header(INSTALL_ID, &install.to_string())
}

/// What an install without a licence has left.
pub(super) async fn credits(run: &mut Run, install: InstallId) -> Checked<Credits> {
    run.needs_path(CREDITS).await?;
    let answer = of_install(run.api.get(CREDITS), install).send().await?.status(200)?;
    answer.is_private()?;
    answer.is("/installId", install.to_string())?;
    answer.is("/plan", Plan::Core.as_str())?;
    let (remaining, cloud) = (answer.number_or_null("/remaining")?, answer.number_or_null("/cloudRemaining")?);
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
    Err(Stop::fault(format!("GET {CREDITS}"), shown(expected), shown(left)))
}

fn shown(credits: Credits) -> String {
    let number = |left: Option<u64>| left.map_or("any number".to_owned(), |left| left.to_string());
    let Credits { remaining, cloud, consumed } = credits;
    format!("{} requests left ({} in the cloud) and {consumed} used", number(remaining), number(cloud))
}

async fn read(run: &mut Run) -> Checked {
    let install = new_install();
    let first = credits(run, install).await?;
    if first.consumed != 0 {
        return Err(Stop::fault(format!("GET {CREDITS}"), "a new install to have used nothing", first.consumed));
    }
    has_left(run, install, first).await
}

async fn install_id(run: &mut Run) -> Checked {
    run.needs_path(CREDITS).await?;
    run.api.get(CREDITS).send().await?.names_field(INSTALL_ID)?;
    // Something in front of the server may drop an empty header, which is then missing.
    run.api.get(CREDITS).header(INSTALL_ID, "").send().await?.names_field(INSTALL_ID)?;
    let id = new_install().to_string();
    let asks = run.offers(ASK).await?;
    for wrong in ["install-1", &with_letters(&id).to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}")] {
        refused(run.api.get(CREDITS).header(INSTALL_ID, wrong).send().await?, wrong)?;
        if asks {
            refused(run.api.post(ASK).header(INSTALL_ID, wrong).json(&order()).send().await?, wrong)?;
        }
    }
    Ok(())
}

/// An id that upper case changes.
fn with_letters(id: &str) -> String {
    format!("abcdef{}", id.get(6..).unwrap_or_default())
}

fn refused(answer: Answer, wrong: &str) -> Checked {
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
