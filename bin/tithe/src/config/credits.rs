//! Install credits: what installs may use without paying for it, how many requests run at once, and the operator's own machine.

use super::error::ConfigError;
use super::inference::{Backend, BackendConnection, Inference, Parameters, simulated};
use super::setting::Setting;
use super::values::Values;
use std::collections::BTreeSet;
use tithe_engine::CreditSettings;
use tithe_ledger::credits::{Counted, Plans, Quota};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "TITHE_PLAN_CORE",
        "plan_core",
        "lifetime:50",
        "The requests of an install without a licence: lifetime:N or monthly:N, then ,cloud:N if fewer of them may go to the cloud. N is a number or unlimited",
    )
    .same(),
    Setting::new(
        "TITHE_PLAN_PRO",
        "plan_pro",
        "monthly:1000",
        "The requests of an install whose licence is of the plan pro",
    )
    .same(),
    Setting::new(
        "TITHE_PLAN_MAX",
        "plan_max",
        "monthly:unlimited,cloud:5000",
        "The requests of an install whose licence is of the plan max",
    )
    .same(),
    Setting::new(
        "TITHE_CREDITS_NEW_INSTALLS",
        "credits_new_installs",
        "100",
        "How many new installs without a licence one address may have in 24 hours. 0: a new install needs a licence",
    )
    .same(),
    Setting::new(
        "TITHE_CREDITS_MODELS",
        "credits_models",
        "",
        "The offered models that a request of an install may name besides the work model, separated by commas",
    )
    .same(),
    Setting::new(
        "TITHE_CREDITS_MAX_OUTPUT_TOKENS",
        "credits_max_output_tokens",
        "",
        "The most output that a request of an install may ask for, in tokens. Empty: the default of its model",
    )
    .same(),
    Setting::new(
        "TITHE_ASK_REQUESTS",
        "ask_requests",
        "32",
        "The most requests of installs, and of identities that the pool pays for, that this server works on at once; others wait up to 25 seconds",
    ),
    Setting::new(
        "TITHE_HARDWARE",
        "hardware",
        "none",
        "Your own machine, for requests of installs beyond their share of the cloud: none, sim, openai (any compatible endpoint) or anthropic",
    )
    .same(),
    Setting::new(
        "TITHE_HARDWARE_URL",
        "hardware_url",
        "",
        "The base URL of that machine, such as http://127.0.0.1:8080/v1",
    ),
    Setting::secret("TITHE_HARDWARE_API_KEY", "hardware_api_key", "The API key of that machine"),
    Setting::new(
        "TITHE_HARDWARE_MODEL",
        "hardware_model",
        "",
        "The model that it runs, by its name in the catalogue. With sim: sim-hardware",
    )
    .same(),
];

/// The largest quota and limit that can be set.
const NUMBER_MAX: u64 = 1_000_000_000;

/// The operator's own machine.
pub(crate) struct Hardware {
    pub(crate) connection: BackendConnection,
    pub(crate) model: String,
}

/// Install credits.
pub(super) struct Credits {
    pub(super) hardware: Option<Hardware>,
    pub(super) settings: CreditSettings,
    /// How many requests of installs, and of identities that the pool pays for, run at once.
    pub(super) requests: usize,
}

impl Credits {
    pub(super) fn read(values: &Values, inference: &Inference) -> Result<Self, ConfigError> {
        let max_output_tokens = match values.optional("TITHE_CREDITS_MAX_OUTPUT_TOKENS") {
            None => None,
            Some(_) => Some(values.number("TITHE_CREDITS_MAX_OUTPUT_TOKENS", 1, NUMBER_MAX)?),
        };
        let settings = CreditSettings {
            plans: Plans {
                core: values.parse("TITHE_PLAN_CORE", quota)?,
                pro: values.parse("TITHE_PLAN_PRO", quota)?,
                max: values.parse("TITHE_PLAN_MAX", quota)?,
            },
            new_installs: values.number("TITHE_CREDITS_NEW_INSTALLS", 0, NUMBER_MAX)?,
            models: models(values, inference)?,
            max_output_tokens,
            ..CreditSettings::default()
        };
        let requests = values.count("TITHE_ASK_REQUESTS", 10_000)?;
        Ok(Self { hardware: hardware(values)?, settings, requests })
    }
}

/// Parses a quota, such as `lifetime:50`, `monthly:unlimited,cloud:5000`, or `unlimited`.
fn quota(text: &str) -> Result<Quota, String> {
    let problem = || {
        format!(
            "expected lifetime:N or monthly:N, perhaps followed by ,cloud:N, where N is a whole number up to {NUMBER_MAX} or \
             unlimited; or unlimited alone"
        )
    };
    let number = |text: &str| match text {
        "unlimited" => Ok(None),
        text => text.parse().ok().filter(|number| *number <= NUMBER_MAX).map(Some).ok_or_else(problem),
    };
    if text == "unlimited" {
        return Ok(Quota { counted: Counted::Monthly, requests: None, cloud: None });
    }
    let (requests, cloud) = match text.split_once(',') {
        None => (text, None),
        Some((requests, cloud)) => {
            (requests.trim(), Some(cloud.trim().strip_prefix("cloud:").ok_or_else(problem)?))
        }
    };
    let (counted, requests) = match requests.split_once(':') {
        Some(("lifetime", requests)) => (Counted::Lifetime, requests),
        Some(("monthly", requests)) => (Counted::Monthly, requests),
        _ => return Err(problem()),
    };
    Ok(Quota { counted, requests: number(requests)?, cloud: number(cloud.unwrap_or("unlimited"))? })
}

/// The models that requests of installs may name.
fn models(values: &Values, inference: &Inference) -> Result<BTreeSet<String>, ConfigError> {
    let models: BTreeSet<String> = values.list("TITHE_CREDITS_MODELS").into_iter().collect();
    match models.iter().find(|name| !inference.offers(name)) {
        None => Ok(models),
        Some(unknown) => {
            let problem = format!("invalid TITHE_CREDITS_MODELS: expected offered models, got {unknown:?}");
            Err(ConfigError::Together(problem))
        }
    }
}

/// The operator's own machine, if there is one.
fn hardware(values: &Values) -> Result<Option<Hardware>, ConfigError> {
    let kind = values.one_of("TITHE_HARDWARE", &["none", "sim", "openai", "anthropic"])?;
    let with = format!("TITHE_HARDWARE={kind}");
    let required = |name| values.required(name, &with);
    let backend = match kind {
        "none" => {
            let settings = ["TITHE_HARDWARE_URL", "TITHE_HARDWARE_MODEL", "TITHE_HARDWARE_API_KEY"];
            return match settings.into_iter().find(|name| values.optional(name).is_some()) {
                None => Ok(None),
                Some(name) => {
                    let problem = format!("{name} is set, but {with} uses no machine of yours");
                    Err(ConfigError::Together(problem))
                }
            };
        }
        "openai" => Backend::OpenAi { url: required("TITHE_HARDWARE_URL")? },
        "anthropic" => Backend::Anthropic { url: required("TITHE_HARDWARE_URL")? },
        _ => simulated(values)?,
    };
    let model = match values.optional("TITHE_HARDWARE_MODEL") {
        Some(model) => model,
        None if kind == "sim" => "sim-hardware".to_owned(),
        None => required("TITHE_HARDWARE_MODEL")?,
    };
    let connection = BackendConnection {
        backend,
        parameters: Parameters::AUTO,
        api_key: values.optional("TITHE_HARDWARE_API_KEY"),
        url_setting: "TITHE_HARDWARE_URL".into(),
        api_key_setting: "TITHE_HARDWARE_API_KEY".into(),
    };
    Ok(Some(Hardware { connection, model }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{inference, values::Groups};

    const GROUPS: Groups = &[inference::SETTINGS, SETTINGS];

    fn with(pairs: &[(&str, &str)]) -> Result<Credits, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let values = Values::from_parts(GROUPS, None, environment)?;
        Credits::read(&values, &Inference::read(&values)?)
    }

    #[test]
    fn credits_are_configured() {
        let credits = with(&[
            ("TITHE_PLAN_CORE", "monthly:7,cloud:3"),
            ("TITHE_PLAN_PRO", "monthly:70"),
            ("TITHE_PLAN_MAX", "unlimited"),
            ("TITHE_CREDITS_NEW_INSTALLS", "0"),
            ("TITHE_CREDITS_MODELS", "sim-small, sim-large"),
            ("TITHE_CREDITS_MAX_OUTPUT_TOKENS", "200"),
        ]);
        let quota = |requests, cloud| Quota { counted: Counted::Monthly, requests, cloud };
        let expected = CreditSettings {
            plans: Plans {
                core: quota(Some(7), Some(3)),
                pro: quota(Some(70), None),
                max: quota(None, None),
            },
            new_installs: 0,
            models: BTreeSet::from(["sim-large".to_owned(), "sim-small".to_owned()]),
            max_output_tokens: Some(200),
            ..CreditSettings::default()
        };
        assert_eq!(credits.unwrap().settings, expected);
    }

    #[test]
    fn the_work_model_is_offered_even_if_the_offered_models_do_not_list_it() {
        let models = |named| {
            let offered = [("TITHE_OFFERED_MODELS", "sim-small"), ("TITHE_CREDITS_MODELS", named)];
            with(&offered).map(|credits| credits.settings.models.len())
        };
        assert_eq!((models("sim-large").unwrap(), models("").unwrap()), (1, 0));
        assert!(models("sim-hardware").is_err());
    }

    #[test]
    fn hardware_is_simulated_or_a_machine_with_a_url() {
        let hardware = |pairs: &[(&str, &str)]| with(pairs).unwrap().hardware.unwrap();
        let simulated = hardware(&[("TITHE_HARDWARE", "sim")]);
        assert!(simulated.connection.is_simulated() && simulated.model == "sim-hardware");
        let url = "http://127.0.0.1:8080/v1";
        for (kind, backend) in [
            ("openai", Backend::OpenAi { url: url.to_owned() }),
            ("anthropic", Backend::Anthropic { url: url.to_owned() }),
        ] {
            let real = hardware(&[
                ("TITHE_HARDWARE", kind),
                ("TITHE_HARDWARE_URL", url),
                ("TITHE_HARDWARE_API_KEY", "key"),
                ("TITHE_HARDWARE_MODEL", "mine"),
            ]);
            assert_eq!((real.connection.backend, real.model.as_str()), (backend, "mine"));
            assert_eq!(real.connection.api_key.as_deref(), Some("key"));
        }
    }

    #[test]
    fn mistakes_are_named_with_where_they_come_from() {
        let url = ("TITHE_HARDWARE_URL", "http://127.0.0.1:1/v1");
        for (pairs, message) in [
            (
                &[("TITHE_PLAN_CORE", "50")][..],
                "invalid TITHE_PLAN_CORE (from the environment): expected lifetime:N or monthly:N, perhaps followed by ,cloud:N, \
                 where N is a whole number up to 1000000000 or unlimited; or unlimited alone, got \"50\"",
            ),
            (
                &[("TITHE_CREDITS_NEW_INSTALLS", "")],
                "invalid TITHE_CREDITS_NEW_INSTALLS (from the environment): expected a whole number from 0",
            ),
            (
                &[("TITHE_ASK_REQUESTS", "0")],
                "invalid TITHE_ASK_REQUESTS (from the environment): expected a whole number from 1 to 10000",
            ),
            (
                &[("TITHE_CREDITS_MODELS", "sim-small,sim-hardware")],
                "invalid TITHE_CREDITS_MODELS: expected offered models, got \"sim-hardware\"",
            ),
            (
                &[("TITHE_CREDITS_MAX_OUTPUT_TOKENS", "0")],
                "invalid TITHE_CREDITS_MAX_OUTPUT_TOKENS (from the environment): expected a whole number from 1",
            ),
            (&[("TITHE_HARDWARE", "gpu")], "expected one of none, sim, openai, anthropic, got \"gpu\""),
            (
                &[("TITHE_HARDWARE", "anthropic")],
                "missing TITHE_HARDWARE_URL: it is required with TITHE_HARDWARE=anthropic",
            ),
            (
                &[("TITHE_HARDWARE", "openai"), url],
                "missing TITHE_HARDWARE_MODEL: it is required with TITHE_HARDWARE=openai",
            ),
            (&[url], "TITHE_HARDWARE_URL is set, but TITHE_HARDWARE=none uses no machine of yours"),
        ] {
            let found = with(pairs).err().unwrap().to_string();
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn quotas_are_read_from_one_line() {
        let (lifetime, monthly) = (Counted::Lifetime, Counted::Monthly);
        for (text, counted, requests, cloud) in [
            ("lifetime:50", lifetime, Some(50), None),
            ("monthly:1000", monthly, Some(1_000), None),
            ("monthly:unlimited,cloud:5000", monthly, None, Some(5_000)),
            ("monthly:100, cloud:0", monthly, Some(100), Some(0)),
            ("lifetime:0,cloud:unlimited", lifetime, Some(0), None),
            ("lifetime:unlimited", lifetime, None, None),
            ("unlimited", monthly, None, None),
        ] {
            assert_eq!(quota(text), Ok(Quota { counted, requests, cloud }), "{text}");
        }
    }

    #[test]
    fn what_is_no_quota_is_refused_with_what_one_is() {
        for text in [
            "",
            "50",
            "daily:50",
            "lifetime",
            "lifetime:",
            "lifetime:-1",
            "monthly:1.5",
            "monthly:1000000001",
            "monthly:none",
            "monthly:10,",
            "monthly:10,5",
            "monthly:10,cloud:",
            "monthly:10,cloud:1,cloud:2",
            "unlimited:5",
            "Monthly:5",
        ] {
            let problem = quota(text).unwrap_err();
            assert!(problem.starts_with("expected lifetime:N or monthly:N"), "{text}: {problem}");
        }
    }
}
