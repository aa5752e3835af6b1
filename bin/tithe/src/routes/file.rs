//! The file of `TITHE_ROUTES`.

use crate::config::{Backend, BackendConnection, Parameters};
use crate::failure::{Failure, doing};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tithe_engine::inference::{Route, RouteTarget};
use tithe_inference::{OutputLimitField, ZeroTemperature};

/// Where Anthropic's API is.
const ANTHROPIC_URL: &str = "https://api.anthropic.com";

/// What the file says.
#[derive(Default)]
pub(crate) struct RoutesFile {
    /// The backends besides the main one, with their names.
    pub(crate) backends: Vec<(String, BackendConnection)>,
    /// The routes.
    pub(crate) routes: Vec<Route>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    backend: Vec<BackendForm>,
    #[serde(default)]
    route: Vec<RouteForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendForm {
    name: String,
    kind: String,
    url: Option<String>,
    api_key: Option<String>,
    api_key_file: Option<String>,
    api_key_env: Option<String>,
    output_limit: Option<String>,
    temperature: Option<String>,
    stream_options: Option<String>,
    latency_ms: Option<u64>,
    delta_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteForm {
    model: String,
    targets: Vec<TargetForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetForm {
    backend: String,
    model: String,
    name: Option<String>,
}

impl RoutesFile {
    /// Reads the file, and the keys that it refers to.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(doing("cannot read the file"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder, &|name| std::env::var(name).ok())
    }

    /// Reads a text. Paths in it are relative to `folder`; `variable` is the environment.
    fn parse(text: &str, folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Without the line itself, which may hold a key.
        let form: Form = toml::from_str(text).map_err(|wrong: toml::de::Error| {
            let before = wrong.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, wrong.message())
        })?;
        let mut names = BTreeSet::new();
        let mut backends = Vec::new();
        for (row, backend) in (1..).zip(form.backend) {
            let place = format!("backend {row} ({:?})", backend.name);
            if backend.name.is_empty() || !backend.name.chars().all(is_of_names) {
                let problem = "name: expected letters, digits, dots, hyphens and underscores";
                return Err(format!("{place}: {problem}, got {:?}", backend.name).into());
            }
            if !names.insert(backend.name.clone()) {
                return Err(format!("{place}: name: expected each name once, got it twice").into());
            }
            let name = backend.name.clone();
            let connection = backend
                .connection(&place, folder, variable)
                .map_err(|problem| format!("{place}: {problem}"))?;
            backends.push((name, connection));
        }
        let target = |TargetForm { backend, model, name }| RouteTarget { backend, model, name };
        let routes = form.route.into_iter().map(|route| Route {
            model: route.model,
            targets: route.targets.into_iter().map(target).collect(),
        });
        Ok(Self { backends, routes: routes.collect() })
    }
}

/// Names stand in headers, in metrics and in messages.
fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl BackendForm {
    fn connection(
        self,
        place: &str,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BackendConnection, String> {
        let parameters = Parameters {
            output_limit_field: match choice(
                "output_limit",
                self.output_limit.as_deref(),
                &["auto", "max_tokens", "max_completion_tokens"],
            )? {
                "max_tokens" => OutputLimitField::MaxTokens,
                "max_completion_tokens" => OutputLimitField::MaxCompletionTokens,
                _ => OutputLimitField::Auto,
            },
            zero_temperature: match choice(
                "temperature",
                self.temperature.as_deref(),
                &["auto", "send", "omit"],
            )? {
                "send" => ZeroTemperature::Send,
                "omit" => ZeroTemperature::Omit,
                _ => ZeroTemperature::Auto,
            },
            stream_options: choice("stream_options", self.stream_options.as_deref(), &["send", "omit"])?
                == "send",
        };
        let kind = choice("kind", Some(&self.kind), &["openai", "anthropic", "sim"])?;
        let delays = [("latency_ms", self.latency_ms), ("delta_ms", self.delta_ms)];
        if let Some((field, _)) = delays.iter().find(|(_, delay)| kind != "sim" && delay.is_some()) {
            return Err(format!("{field}: expected it only with kind = \"sim\", got kind = {kind:?}"));
        }
        let (keys, api_key) = self.api_key(folder, variable)?;
        let backend = match kind {
            "sim" => {
                if let Some(field) = keys.or(self.url.as_ref().map(|_| "url")) {
                    return Err(format!("{field}: expected none with kind = \"sim\""));
                }
                let delay = |delay: Option<u64>| Duration::from_millis(delay.unwrap_or_default());
                Backend::Simulated { latency: delay(self.latency_ms), delta_delay: delay(self.delta_ms) }
            }
            "anthropic" => Backend::Anthropic { url: self.url.unwrap_or_else(|| ANTHROPIC_URL.to_owned()) },
            _ => Backend::OpenAi {
                url: self.url.ok_or("url: expected the base URL of the backend, got none")?,
            },
        };
        Ok(BackendConnection {
            backend,
            parameters,
            api_key,
            url_setting: format!("url of {place}").into(),
            api_key_setting: format!("{} of {place}", keys.unwrap_or("api_key")).into(),
        })
    }

    /// The API key, with the field that names it.
    fn api_key(
        &self,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Option<&'static str>, Option<String>), String> {
        let fields = [
            ("api_key", &self.api_key),
            ("api_key_file", &self.api_key_file),
            ("api_key_env", &self.api_key_env),
        ];
        let mut given = fields.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?)));
        let Some((field, value)) = given.next() else { return Ok((None, None)) };
        if let Some((other, _)) = given.next() {
            return Err(format!("{other}: expected one way to the key, got {field} too"));
        }
        let key = match field {
            "api_key" => value.to_owned(),
            "api_key_env" if value.to_uppercase().starts_with("TITHE_") => {
                return Err(format!("api_key_env: expected a name that no setting can have, got {value:?}"));
            }
            "api_key_env" => variable(value)
                .ok_or_else(|| format!("api_key_env: expected a variable that is set, got {value:?}"))?,
            _ => std::fs::read_to_string(folder.join(value))
                .map_err(|failure| format!("api_key_file: cannot read {value:?}: {failure}"))?,
        };
        let key = key.trim();
        if key.is_empty() {
            return Err(format!("{field}: expected a key, got an empty text"));
        }
        Ok((Some(field), Some(key.to_owned())))
    }
}

/// One of several texts, the first if there is none.
fn choice(field: &str, value: Option<&str>, choices: &[&'static str]) -> Result<&'static str, String> {
    let found = match value {
        None => choices.first(),
        Some(value) => choices.iter().find(|choice| **choice == value),
    };
    let problem =
        || format!("{field}: expected one of {}, got {:?}", choices.join(", "), value.unwrap_or(""));
    found.copied().ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RoutesFile, String> {
        let variable = |name: &str| (name == "LAB_KEY").then(|| "sk-lab\n".to_owned());
        RoutesFile::parse(text, Path::new("/nowhere"), &variable)
            .map_err(|wrong| crate::chain(wrong.as_ref()))
    }

    #[test]
    fn backends_and_routes_are_read() {
        let file = parse(
            r#"
            [[backend]]
            name = "lab"
            kind = "openai"
            url = "http://127.0.0.1:4200/v1"
            api_key_env = "LAB_KEY"
            output_limit = "max_tokens"
            temperature = "omit"
            stream_options = "omit"

            [[backend]]
            name = "claude"
            kind = "anthropic"

            [[route]]
            model = "fast"
            targets = [
                { backend = "main", model = "sim-small" },
                { backend = "lab", model = "sim-large", name = "lab/large" },
            ]
            "#,
        )
        .unwrap();
        let [(lab, connection), (claude, other)] = &file.backends[..] else { panic!("two backends") };
        assert_eq!((lab.as_str(), claude.as_str()), ("lab", "claude"));
        assert_eq!(connection.api_key.as_deref(), Some("sk-lab"));
        assert_eq!(connection.backend, Backend::OpenAi { url: "http://127.0.0.1:4200/v1".to_owned() });
        assert_eq!(
            connection.parameters,
            Parameters {
                output_limit_field: OutputLimitField::MaxTokens,
                zero_temperature: ZeroTemperature::Omit,
                stream_options: false
            }
        );
        assert_eq!(other.backend, Backend::Anthropic { url: ANTHROPIC_URL.to_owned() });
        assert!(other.api_key.is_none() && other.parameters.stream_options);
        let [route] = &file.routes[..] else { panic!("one route") };
        assert_eq!((route.model.as_str(), route.targets.len()), ("fast", 2));
        assert_eq!(route.targets[1].name.as_deref(), Some("lab/large"));
        assert!(parse("").unwrap().routes.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_row_and_its_field_and_no_key_is_shown() {
        let backend = |more: &str| format!("[[backend]]\nname = \"lab\"\n{more}\n");
        let openai = |more: &str| backend(&format!("kind = \"openai\"\nurl = \"http://a/v1\"\n{more}"));
        for (text, message) in [
            (
                backend("kind = \"llama\""),
                "backend 1 (\"lab\"): kind: expected one of openai, anthropic, sim, got \"llama\"",
            ),
            (
                backend("kind = \"openai\""),
                "backend 1 (\"lab\"): url: expected the base URL of the backend, got none",
            ),
            (openai("api_key = \" \""), "backend 1 (\"lab\"): api_key: expected a key, got an empty text"),
            (
                openai("api_key = \"sk-secret\"\napi_key_env = \"LAB_KEY\""),
                "backend 1 (\"lab\"): api_key_env: expected one way to the key, got api_key too",
            ),
            (
                openai("api_key_env = \"NO_KEY\""),
                "backend 1 (\"lab\"): api_key_env: expected a variable that is set, got \"NO_KEY\"",
            ),
            (
                openai("api_key_env = \"TITHE_LAB\""),
                "backend 1 (\"lab\"): api_key_env: expected a name that no setting can have, got \"TITHE_LAB\"",
            ),
            (
                openai("api_key_file = \"lab.key\""),
                "backend 1 (\"lab\"): api_key_file: cannot read \"lab.key\": No such file or directory (os error 2)",
            ),
            (
                openai("temperature = \"hot\""),
                "backend 1 (\"lab\"): temperature: expected one of auto, send, omit, got \"hot\"",
            ),
            (
                openai("latency_ms = 5"),
                "backend 1 (\"lab\"): latency_ms: expected it only with kind = \"sim\", got kind = \"openai\"",
            ),
            (
                backend("kind = \"sim\"\nurl = \"http://a\""),
                "backend 1 (\"lab\"): url: expected none with kind = \"sim\"",
            ),
            (
                format!("{}{}", backend("kind = \"sim\""), backend("kind = \"sim\"")),
                "backend 2 (\"lab\"): name: expected each name once, got it twice",
            ),
            (
                "[[backend]]\nname = \"the lab\"\nkind = \"sim\"\n".to_owned(),
                "backend 1 (\"the lab\"): name: expected letters, digits, dots, hyphens and underscores, got \"the lab\"",
            ),
        ] {
            let found = parse(&text).err().unwrap();
            assert_eq!(found, message);
            assert!(!found.contains("sk-secret"), "{found}");
        }
        let missing = parse("[[route]]\nmodel = \"fast\"\n").err().unwrap();
        assert!(missing.contains("missing field `targets`"), "{missing}");
        let unclosed = parse(&openai("api_key = \"sk-secret")).err().unwrap();
        assert!(unclosed.starts_with("line 5: ") && !unclosed.contains("sk-secret"), "{unclosed}");
        let unknown = parse(&openai("api_kei = \"sk-secret\"")).err().unwrap();
        assert!(unknown.starts_with("line 5: unknown field `api_kei`"), "{unknown}");
        assert!(!unknown.contains("sk-secret"), "{unknown}");
    }
}
