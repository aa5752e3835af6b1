//! Mounted routes: the tables `[[mount]]` of the configuration file.

use super::error::ConfigError;
use super::values::Values;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tithe_engine::mounts::{Method, MountPath};
use tithe_money::{Msats, Sats};
use tithe_pricing::CallPrice;
use tithe_upstream_http::{UpstreamHeaders, UpstreamUrl};
use toml::Table;

/// The most that a call can cost, in msats: a bitcoin.
const PRICE_MAX: u64 = 100_000_000_000;

/// The longest time that a call may take, in seconds: that of any work.
const TIMEOUT_MAX: u64 = 600;

const MIB: u64 = 1024 * 1024;

/// A mounted route.
#[derive(Debug, Clone)]
pub(crate) struct MountConfig {
    /// Its path.
    pub(crate) path: MountPath,
    /// Where the service is.
    pub(crate) upstream: UpstreamUrl,
    /// Its methods.
    pub(crate) methods: Vec<Method>,
    /// What a call costs.
    pub(crate) price: CallPrice,
    /// What is sent with each call.
    pub(crate) headers: UpstreamHeaders,
    /// The names of these headers, as they are written.
    header_names: Vec<String>,
    /// The headers of customers that the service gets beside those that each gets, in lower case.
    pub(crate) passed_headers: Vec<String>,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// The largest body of a request, in bytes.
    pub(crate) request_bytes_max: usize,
    /// The largest answer, in bytes.
    pub(crate) response_bytes_max: usize,
}

/// The mounted routes that the file has, and what is wrong with others.
pub(super) fn read(values: &Values) -> (Vec<MountConfig>, Vec<ConfigError>) {
    let Some((tables, file)) = &values.mounts else { return (Vec::new(), Vec::new()) };
    let folder = Path::new(file).parent().unwrap_or(Path::new("."));
    let (mounts, problems) = read_tables(tables, folder, &|name| std::env::var(name).ok());
    let told = |problem| ConfigError::Together(format!("{problem} (in {file})"));
    (mounts, problems.into_iter().map(told).collect())
}

/// Paths of files are relative to `folder`; `variable` is the environment.
fn read_tables(
    tables: &toml::Value,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Vec<MountConfig>, Vec<String>) {
    let Some(tables) = tables.as_array() else {
        return (Vec::new(), vec!["invalid mount: expected tables that begin with [[mount]]".to_owned()]);
    };
    let (mut mounts, mut places, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (row, table) in (1..).zip(tables) {
        let path = table.get("path").and_then(toml::Value::as_str);
        let place = path.map_or_else(|| format!("mount {row}"), |path| format!("mount {row} ({path:?})"));
        let read = match table.as_table() {
            Some(table) => Fields(table).mount(folder, variable),
            None => Err("expected a table".to_owned()),
        };
        match read {
            Ok(mount) => {
                mounts.push(mount);
                places.push(place);
            }
            Err(problem) => problems.push(format!("invalid {place}: {problem}")),
        }
    }
    let paths: Vec<MountPath> = mounts.iter().map(|mount: &MountConfig| mount.path.clone()).collect();
    if let Err((n, wrong)) = tithe_http::check_mounts(&paths) {
        problems.push(format!("invalid {}: {wrong}", places.get(n).map_or("mount", String::as_str)));
    }
    (mounts, problems)
}

/// The fields of a table. Their values are shown only where no secret is expected.
struct Fields<'a>(&'a Table);

/// The names of the fields.
const FIELDS: [&str; 11] = [
    "path",
    "upstream",
    "methods",
    "price_sats",
    "price_msats_per_token",
    "max_tokens",
    "headers",
    "pass_headers",
    "timeout_seconds",
    "max_request_bytes",
    "max_response_bytes",
];

impl<'a> Fields<'a> {
    fn mount(&self, folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<MountConfig, String> {
        if let Some(unknown) = self.0.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(format!("{unknown}: expected one of {}", FIELDS.join(", ")));
        }
        let path = self.text("path")?.ok_or("path: expected the path of the route, got none")?;
        let path = path.parse().map_err(|wrong| format!("path: {wrong}, got {path:?}"))?;
        let upstream = self.text("upstream")?.ok_or("upstream: expected the URL of the service, got none")?;
        let upstream = upstream.parse().map_err(|wrong| format!("upstream: {wrong}"))?;
        let (headers, header_names) = self.headers(folder, variable)?;
        let bytes = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(MountConfig {
            path,
            upstream,
            methods: self.methods()?,
            price: self.price()?,
            headers,
            header_names,
            passed_headers: self.passed_headers()?,
            timeout: Duration::from_secs(self.number("timeout_seconds", 1, TIMEOUT_MAX)?.unwrap_or(60)),
            request_bytes_max: bytes(self.number("max_request_bytes", 0, 32 * MIB)?.unwrap_or(MIB)),
            response_bytes_max: bytes(self.number("max_response_bytes", 1, 16 * MIB)?.unwrap_or(MIB)),
        })
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, String> {
        let text = |value: &'a toml::Value| value.as_str().ok_or_else(|| format!("{field}: expected a text"));
        self.0.get(field).map(text).transpose()
    }

    fn number(&self, field: &str, least: u64, most: u64) -> Result<Option<u64>, String> {
        let Some(value) = self.0.get(field) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        let problem = || format!("{field}: expected a whole number from {least} to {most}, got {value}");
        number.map(Some).ok_or_else(problem)
    }

    fn methods(&self) -> Result<Vec<Method>, String> {
        let Some(value) = self.0.get("methods") else { return Ok(vec![Method::Post]) };
        let known = Method::ALL.map(Method::as_str).join(", ");
        let problem = || format!("methods: expected a list of {known}, got {value}");
        let names = value.as_array().filter(|names| !names.is_empty()).ok_or_else(problem)?;
        let mut methods = Vec::new();
        for name in names {
            let method = name.as_str().and_then(Method::named).ok_or_else(problem)?;
            if methods.contains(&method) {
                return Err(format!("methods: expected each method once, got {method} twice"));
            }
            methods.push(method);
        }
        Ok(methods)
    }

    fn price(&self) -> Result<CallPrice, String> {
        let most = PRICE_MAX / 1000;
        let fixed = self.number("price_sats", 1, most)?;
        let per_token = self.number("price_msats_per_token", 1, PRICE_MAX)?;
        let tokens = self.number("max_tokens", 1, PRICE_MAX)?;
        match (fixed, per_token, tokens) {
            (Some(sats), None, None) => {
                Ok(CallPrice::Fixed(Sats::new(sats).map_err(|wrong| format!("price_sats: {wrong}"))?))
            }
            (None, Some(msats), Some(tokens_max)) => {
                let price = msats.checked_mul(tokens_max).filter(|price| *price <= PRICE_MAX);
                if price.is_none() {
                    return Err(format!(
                        "max_tokens: expected a price of at most {most} sats for all of them, got {tokens_max} tokens of {msats} msats"
                    ));
                }
                let msats = Msats::new(msats).map_err(|wrong| format!("price_msats_per_token: {wrong}"))?;
                Ok(CallPrice::PerToken { msats, tokens_max })
            }
            (None, Some(_), None) => {
                Err("max_tokens: expected the most tokens that are invoiced, got none".to_owned())
            }
            (_, _, Some(_)) => Err("max_tokens: expected it only with price_msats_per_token".to_owned()),
            (Some(_), Some(_), None) => {
                Err("price_sats: expected one price, got price_msats_per_token, too".to_owned())
            }
            (None, None, None) => {
                Err("price_sats: expected a price (or price_msats_per_token and max_tokens), got none"
                    .to_owned())
            }
        }
    }

    fn passed_headers(&self) -> Result<Vec<String>, String> {
        let Some(value) = self.0.get("pass_headers") else { return Ok(Vec::new()) };
        let problem = || format!("pass_headers: expected a list of names of headers, got {value}");
        let mut names = Vec::new();
        for name in value.as_array().ok_or_else(problem)? {
            let name = name.as_str().ok_or_else(problem)?.to_ascii_lowercase();
            tithe_http::check_passed_header(&name)
                .map_err(|wrong| format!("pass_headers: {wrong}, got {name:?}"))?;
            if names.contains(&name) {
                return Err(format!("pass_headers: expected each header once, got {name} twice"));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn headers(
        &self,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(UpstreamHeaders, Vec<String>), String> {
        let mut headers = UpstreamHeaders::default();
        let Some(table) = self.0.get("headers") else { return Ok((headers, Vec::new())) };
        let expected = "headers: expected a table of names and values";
        let table = table.as_table().ok_or(expected)?;
        for (name, value) in table {
            let place = format!("headers.{name}");
            let value = header_value(value, folder, variable).map_err(|wrong| format!("{place}: {wrong}"))?;
            headers.add(name, value.trim()).map_err(|wrong| format!("{place}: {wrong}"))?;
        }
        Ok((headers, table.keys().cloned().collect()))
    }
}

/// The value of a header: a text, or where it is: `{ env = "NAME" }` or `{ file = "PATH" }`.
fn header_value(
    value: &toml::Value,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let expected = "expected a text, { env = \"NAME\" } or { file = \"PATH\" }";
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let mut fields = value.as_table().ok_or(expected)?.iter();
    let (field, place) = fields.next().filter(|_| fields.next().is_none()).ok_or(expected)?;
    let place = place.as_str().ok_or(expected)?;
    match field.as_str() {
        "env" if place.to_uppercase().starts_with("TITHE_") => {
            Err(format!("expected a variable whose name no setting can have, got {place:?}"))
        }
        "env" => variable(place).ok_or_else(|| format!("expected a variable that is set, got {place:?}")),
        "file" => std::fs::read_to_string(folder.join(place))
            .map_err(|failure| format!("cannot read {place:?}: {failure}")),
        _ => Err(expected.to_owned()),
    }
}

impl MountConfig {
    /// The route as it would stand in a file, without the values of its headers.
    pub(super) fn describe(&self) -> String {
        let methods: Vec<String> = self.methods.iter().map(|method| format!("\"{method}\"")).collect();
        let mut text = format!(
            "\n[[mount]]\npath = \"{}\"\nupstream = \"{}\"\nmethods = [{}]\n",
            self.path,
            self.upstream,
            methods.join(", ")
        );
        if !self.passed_headers.is_empty() {
            let names: Vec<String> = self.passed_headers.iter().map(|name| format!("\"{name}\"")).collect();
            let _infallible = writeln!(text, "pass_headers = [{}]", names.join(", "));
        }
        for (name, number) in self.numbers() {
            let _infallible = writeln!(text, "{name} = {number}");
        }
        for name in &self.header_names {
            let _infallible = writeln!(text, "# headers.{name} is set, and hidden");
        }
        text
    }

    fn numbers(&self) -> BTreeMap<&'static str, u64> {
        let bytes = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut numbers = BTreeMap::from([
            ("timeout_seconds", self.timeout.as_secs()),
            ("max_request_bytes", bytes(self.request_bytes_max)),
            ("max_response_bytes", bytes(self.response_bytes_max)),
        ]);
        match self.price {
            CallPrice::Fixed(sats) => numbers.extend([("price_sats", sats.get())]),
            CallPrice::PerToken { msats, tokens_max } => {
                numbers.extend([("price_msats_per_token", msats.get()), ("max_tokens", tokens_max)]);
            }
        }
        numbers
    }

    /// The route for programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = json!({
            "path": self.path.to_string(),
            "upstream": self.upstream.to_string(),
            "methods": self.methods.iter().map(|method| method.as_str()).collect::<Vec<_>>(),
            "headers": self.header_names,
            "pass_headers": self.passed_headers,
        });
        if let Some(fields) = body.as_object_mut() {
            fields.extend(self.numbers().into_iter().map(|(name, number)| (name.to_owned(), number.into())));
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<MountConfig>, Vec<String>) {
        let table: Table = toml::from_str(text).unwrap();
        let variable = |name: &str| (name == "WEATHER_KEY").then(|| "secret\n".to_owned());
        read_tables(&table["mount"], Path::new("/nowhere"), &variable)
    }

    fn mount(more: &str) -> String {
        format!("[[mount]]\npath = \"/paid/a\"\nupstream = \"http://127.0.0.1:9000\"\n{more}\n")
    }

    #[test]
    fn a_mount_needs_a_path_a_service_and_a_price() {
        let (mounts, problems) = parse(&mount("price_sats = 7"));
        assert_eq!(problems, Vec::<String>::new());
        let [mount] = &mounts[..] else { panic!("{mounts:?}") };
        assert_eq!(
            (mount.path.to_string(), mount.methods.clone()),
            ("/paid/a".to_owned(), vec![Method::Post])
        );
        assert_eq!(mount.price, CallPrice::Fixed(Sats::new(7).unwrap()));
        assert_eq!(
            (mount.timeout.as_secs(), mount.request_bytes_max, mount.response_bytes_max),
            (60, 1 << 20, 1 << 20)
        );
    }

    #[test]
    fn what_is_set_is_read_and_shown_again_without_secrets() {
        let text = "[[mount]]\npath = \"/paid/files/*\"\nupstream = \"https://files.example/api\"\nmethods = [\"GET\", \"POST\"]\n\
                    price_msats_per_token = 3\nmax_tokens = 1000\ntimeout_seconds = 5\nmax_request_bytes = 0\nmax_response_bytes = 10\n\
                    pass_headers = [\"Accept-Version\", \"x-units\"]\n\
                    headers = { X-Api-Key = \"secret\", Authorization = { env = \"WEATHER_KEY\" } }\n";
        let (mounts, problems) = parse(text);
        assert_eq!(problems, Vec::<String>::new());
        let shown = mounts[0].describe();
        assert!(shown.contains("# headers.X-Api-Key is set, and hidden\n"), "{shown}");
        let json = mounts[0].to_json().to_string();
        assert!(!shown.contains("secret") && !json.contains("secret"), "{shown} {json}");
        let (again, problems) = parse(&shown);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(mounts[0].passed_headers, ["accept-version", "x-units"]);
        assert_eq!(again[0].passed_headers, mounts[0].passed_headers);
        assert_eq!(
            (again[0].price, again[0].numbers(), &again[0].methods),
            (mounts[0].price, mounts[0].numbers(), &mounts[0].methods)
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_shown() {
        for (text, problem) in [
            (mount(""), "price_sats: expected a price (or price_msats_per_token and max_tokens), got none"),
            (
                mount("price_sats = 7\npass_headers = [\"authorization\"]"),
                "pass_headers: expected headers that are neither credentials, nor the connection's, nor name the customer, a method, a path or a part, got \"authorization\"",
            ),
            (
                mount("price_sats = 7\npass_headers = [\"X-A\", \"x-a\"]"),
                "pass_headers: expected each header once, got x-a twice",
            ),
            (
                mount("price_sats = 7\npass_headers = \"x-a\""),
                "pass_headers: expected a list of names of headers, got \"x-a\"",
            ),
            (mount("price_sats = 0"), "price_sats: expected a whole number from 1 to 100000000, got 0"),
            (
                mount("price_sats = \"7\""),
                "price_sats: expected a whole number from 1 to 100000000, got \"7\"",
            ),
            (
                mount("price_sats = 7\nprice_msats_per_token = 1"),
                "price_sats: expected one price, got price_msats_per_token, too",
            ),
            (
                mount("price_sats = 7\nmax_tokens = 1"),
                "max_tokens: expected it only with price_msats_per_token",
            ),
            (
                mount("price_msats_per_token = 7"),
                "max_tokens: expected the most tokens that are invoiced, got none",
            ),
            (
                mount("price_msats_per_token = 1000000\nmax_tokens = 1000000"),
                "max_tokens: expected a price of at most 100000000 sats for all of them, got 1000000 tokens of 1000000 msats",
            ),
            (
                mount("price_sats = 7\nmethods = [\"HEAD\"]"),
                "methods: expected a list of GET, POST, PUT, PATCH, DELETE, got [\"HEAD\"]",
            ),
            (
                mount("price_sats = 7\nmethods = []"),
                "methods: expected a list of GET, POST, PUT, PATCH, DELETE, got []",
            ),
            (
                mount("price_sats = 7\nmethods = [\"GET\", \"GET\"]"),
                "methods: expected each method once, got GET twice",
            ),
            (mount("price_sats = 7\nheaders = \"secret\""), "headers: expected a table of names and values"),
            (
                mount("price_sats = 7\nheaders = { A = 7 }"),
                "headers.A: expected a text, { env = \"NAME\" } or { file = \"PATH\" }",
            ),
            (
                mount("price_sats = 7\nheaders = { A = \"secret\\u0000\" }"),
                "headers.A: invalid value of the header A: expected visible ASCII",
            ),
            (
                mount("price_sats = 7\nheaders = { Host = \"secret\" }"),
                "headers.Host: reserved header: Host is set by the server",
            ),
            (
                mount("price_sats = 7\nheaders = { A = { env = \"NOT_SET\" } }"),
                "headers.A: expected a variable that is set, got \"NOT_SET\"",
            ),
            (
                mount("price_sats = 7\nheaders = { A = { env = \"TITHE_X\" } }"),
                "headers.A: expected a variable whose name no setting can have, got \"TITHE_X\"",
            ),
            (
                mount("price_sats = 7\ntimeout_seconds = 601"),
                "timeout_seconds: expected a whole number from 1 to 600, got 601",
            ),
            (mount("price_sats = 7\nprize = \"secret\""), "prize: expected one of path, upstream, methods, "),
            (
                mount("price_sats = 7").replace("http://127.0.0.1:9000", "http://u:secret@a"),
                "upstream: expected a URL without a user name and a password",
            ),
            (
                mount("price_sats = 7").replace("/paid/a", "/paid/../a"),
                "path: invalid path: expected no empty segments, no dots alone",
            ),
            (
                mount("price_sats = 7").replace("/paid/a", "/v1/a"),
                "path: expected another first segment than \"v1\"",
            ),
        ] {
            let (_, problems) = parse(&text);
            let [found] = &problems[..] else { panic!("{text}: {problems:?}") };
            assert!(found.contains(&format!(": {problem}")), "{found}");
            assert!(found.starts_with("invalid mount 1 (\"/"), "{found}");
            assert!(!found.contains("secret"), "{found}");
        }
    }

    #[test]
    fn what_is_wrong_with_several_tables_is_named() {
        let (mounts, problems) = parse("[[mount]]\nprice_sats = 7\n[[mount]]\npath = \"/paid/a\"\n");
        assert_eq!(mounts.len(), 0);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let twice = format!("{}{}", mount("price_sats = 7"), mount("price_sats = 7"));
        assert_eq!(
            parse(&twice).1,
            [
                "invalid mount 2 (\"/paid/a\"): path: expected paths that do not overlap, got \"/paid/a\" and \"/paid/a\""
            ]
        );
        let table: Table = toml::from_str("mount = 7").unwrap();
        let (_, problems) = read_tables(&table["mount"], Path::new("."), &|_| None);
        assert_eq!(problems, ["invalid mount: expected tables that begin with [[mount]]"]);
    }
}
