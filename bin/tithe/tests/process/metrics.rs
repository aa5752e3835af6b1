//! Metrics of a real server: complete, and in agreement with the audit and with what was bought; and what is written about them.

use crate::operating::procedure;
use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{ask, text};
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use tithe_engine::telemetry::{Metric, MetricKind};

on_both_stores! {
    metrics_agree_with_the_audit_and_with_what_was_bought,
}

const PATIENCE: Duration = Duration::from_mins(1);

const TOKEN: &str = "metrics-readers-only";

/// What happens only when something goes wrong, or not on this database, has no value before.
const ONLY_ON_FAILURE: &[&str] =
    &["tithe_store_retries_total", "tithe_swept_total", "tithe_model_unreported_total"];

fn declared() -> impl Iterator<Item = &'static Metric> {
    let parts = [
        tithe_engine::telemetry::METRICS,
        tithe_store_sql::telemetry::METRICS,
        tithe_http::telemetry::METRICS,
    ];
    parts.into_iter().flatten()
}

/// Reads a URL, with a token or without.
fn get(url: &str, token: Option<&str>) -> (StatusCode, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    })
}

/// The values of a page, by series as they are written: `name{label="value",…}`.
struct Page(BTreeMap<String, f64>);

impl Page {
    fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        Self(lines.map(value).collect())
    }

    fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// The sum of all series of a metric whose labels contain this.
    fn sum(&self, name: &str, labels: &str) -> f64 {
        let of = |series: &str| {
            let rest = series.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('{')).then(|| rest.contains(labels))
        };
        self.0.iter().filter(|(series, _)| of(series) == Some(true)).map(|(_, value)| value).sum()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|series| series.split('{').next().unwrap()).collect()
    }
}

/// Where a server has its own listener for metrics.
fn listener(env: &TestEnv) -> String {
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    let line = log.lines().rev().find(|line| line.contains("metrics are served")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    format!("http://{}/metrics", line["address"].as_str().unwrap())
}

fn start(env: &TestEnv) -> Server {
    env.start_with(&[
        ("TITHE_LOG_FORMAT", "json"),
        ("TITHE_METRICS_LISTEN", "127.0.0.1:0"),
        ("TITHE_METRICS_TOKEN", TOKEN),
        ("TITHE_METRICS_INTERVAL_SECONDS", "1"),
        ("TITHE_AUDIT_SECONDS", "1"),
        ("TITHE_RECONCILE_SECONDS", "1"),
    ])
}

fn number(value: &Value) -> f64 {
    value.as_str().map_or_else(|| value.as_f64().unwrap(), |text| text.parse().unwrap())
}

fn is_close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.000_5
}

fn assert_close(found: f64, expected: f64, what: &str) {
    assert!(is_close(found, expected), "{what}: expected {expected}, got {found}");
}

fn metrics_agree_with_the_audit_and_with_what_was_bought(env: &TestEnv) {
    let server = start(env);
    for request in ["Why is the sky blue?", "What is a sat?", "[sim:refuse] please"] {
        let _sold_or_refused = ask(&server, &[request]);
    }
    let session = ["session", "open", "500", "--dev-pay", "--no-qr", "--server", &server.url("")];
    assert!(server.run(&session).status.success());
    assert_eq!(get(&server.url("/readyz"), None).0, StatusCode::OK);
    assert_eq!(get(&server.url("/api/nothing"), None).0, StatusCode::NOT_FOUND);
    let audit = env.audit();
    let transfers = number(&audit["transfers"]);
    let own = listener(env);
    let began = Instant::now();
    let (page, written) = loop {
        let (status, written) = get(&own, None);
        assert_eq!(status, StatusCode::OK);
        let page = Page::parse(&written);
        // The database, the wallet and the audit are read each at its own time.
        let is_read = page.0.get("tithe_ledger_transfers").is_some_and(|read| *read >= transfers);
        let wallet = page.0.get("tithe_ledger_balance_sats{account=\"wallet\"}");
        let expected = page.0.get("tithe_wallet_expected_sats");
        let is_compared = wallet.zip(expected).is_some_and(|(wallet, expected)| is_close(*expected, -wallet));
        if is_read && is_compared && page.names().contains("tithe_audit_sound") {
            break (page, written);
        }
        assert!(began.elapsed() < PATIENCE, "{written}");
    };

    // Complete, with what each metric means.
    let names = page.names();
    for Metric { name, kind, help, .. } in declared() {
        if ONLY_ON_FAILURE.contains(name) {
            continue;
        }
        let shown = match kind {
            MetricKind::Histogram(_) => format!("{name}_count"),
            MetricKind::Counter | MetricKind::Gauge => (*name).to_owned(),
        };
        assert!(names.contains(shown.as_str()), "{name} is not on the page:\n{written}");
        assert!(written.contains(&format!("# TYPE {name} {}\n", kind.as_str())), "{name} has no type");
        assert!(written.contains(&format!("# HELP {name} {help}\n")), "{name} has no help");
    }
    // Nothing else is there.
    let known: BTreeSet<&str> = declared().map(|metric| metric.name).collect();
    for name in &names {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(
            known.contains(name) || base.is_some_and(|base| known.contains(base)),
            "{name} is not declared"
        );
    }

    // The sums are those of the audit, and the ones that customers see.
    assert_close(page.value("tithe_ledger_transfers"), transfers, "transfers");
    for (account, msats) in audit["accountsMsats"].as_object().unwrap() {
        let series = format!("tithe_ledger_balance_sats{{account=\"{account}\"}}");
        assert_close(page.value(&series), number(msats) / 1_000.0, account);
    }
    for (account, key) in [("jobs", "jobsMsats"), ("sessions", "sessionsMsats")] {
        let series = format!("tithe_ledger_balance_sats{{account=\"{account}\"}}");
        assert_close(page.value(&series), number(&audit[key]) / 1_000.0, account);
    }
    let solvency: Value = serde_json::from_str(&get(&server.url("/api/solvency"), None).1).unwrap();
    assert!(
        (page.value("tithe_pool_balance_sats") - number(&solvency["owedSats"]["pool"])).abs() < 1.0,
        "{solvency}"
    );
    let wallet = -page.value("tithe_ledger_balance_sats{account=\"wallet\"}");
    assert_close(page.value("tithe_wallet_shortfall_sats"), 0.0, "shortfall");
    assert_close(page.value("tithe_audit_sound"), 1.0, "audit");

    // The counters are what was bought: three evaluations, three pieces of work, a session.
    assert_close(page.value("tithe_payments_credited_total{purpose=\"job_eval\"}"), 3.0, "evaluations");
    assert_close(page.value("tithe_payments_credited_total{purpose=\"job_work\"}"), 3.0, "work");
    let deposited = page.value("tithe_payments_credited_sats_total{purpose=\"session_deposit\"}");
    assert_close(deposited, 500.0, "deposit");
    assert_close(page.sum("tithe_payments_credited_sats_total", ""), wallet, "all that was paid in");
    assert_close(page.value("tithe_payment_settlement_lag_seconds_count"), 7.0, "lags");
    assert_close(page.value("tithe_job_steps_total{state=\"complete\"}"), 2.0, "complete");
    assert_close(page.value("tithe_job_steps_total{state=\"failed\"}"), 1.0, "failed");
    let runs = |outcome: &str| page.sum("tithe_model_runs_total", &format!("outcome=\"{outcome}\""));
    assert_close(runs("done"), 5.0, "runs");
    assert_close(runs("refused"), 1.0, "refused runs");
    assert!(page.sum("tithe_model_tokens_total", "bucket=\"output\"") > 0.0);
    let invoices = page.value("tithe_wallet_calls_total{operation=\"invoice_create\",outcome=\"done\"}");
    assert_close(invoices, 7.0, "invoices");
    // Whoever reports a payment has it credited; the second time that changes nothing.
    let credited = page.sum("tithe_commands_total", "command=\"payment_credit\",outcome=\"done\"");
    assert!(credited >= 7.0, "{credited}");
    let created = "tithe_http_requests_total{method=\"POST\",route=\"/api/jobs\",status=\"201\"}";
    assert_close(page.value(created), 3.0, "created jobs");
    assert!(page.sum("tithe_http_requests_total", "route=\"/api/jobs/{jobId}/events\"") > 0.0, "{written}");
    assert_close(page.value("tithe_http_problems_total{code=\"not_found\"}"), 1.0, "problems");
    // No path of a request, and no id, is a label.
    assert!(!written.contains("/api/nothing"), "{written}");
    let is_id = |word: &str| word.len() == 36 && word.matches('-').count() == 4;
    assert!(!written.split(['"', '/']).any(is_id), "{written}");
}

#[test]
fn metrics_are_read_by_those_who_may() {
    let env = TestEnv::sqlite();
    let server = start(&env);
    let url = server.url("/metrics");
    let (status, refused) = get(&url, None);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(refused.contains("TITHE_METRICS_TOKEN"), "{refused}");
    for wrong in ["metrics-readers-ONLY", "metrics-readers-only2", "x"] {
        assert_eq!(get(&url, Some(wrong)).0, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let (status, page) = get(&url, Some(TOKEN));
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("tithe_build_info{version="), "{page}");
    // Its own listener has nothing else.
    let other = listener(&env).replace("/metrics", "/api/pool");
    assert_eq!(get(&other, None).0, StatusCode::NOT_FOUND);
}

#[test]
fn without_a_setting_there_are_no_metrics() {
    let env = TestEnv::sqlite();
    let server = env.start();
    let (status, told) = get(&server.url("/metrics"), Some(TOKEN));
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(told.contains("unknown path"), "{told}");
}

/// The settings, as they are written, and Prometheus's configuration beside them.
#[test]
fn metrics_are_turned_on_as_it_is_written() {
    let env = TestEnv::sqlite();
    let lines = procedure("metrics-on");
    let settings: Vec<(String, String)> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("127.0.0.1:9402", "127.0.0.1:0")))
        .collect();
    assert!(settings.len() >= 2, "{lines}");
    let mut all = vec![("TITHE_LOG_FORMAT", "json")];
    all.extend(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let _server = env.start_with(&all);
    let (status, page) = get(&listener(&env), None);
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("tithe_build_info"), "{page}");
}

#[test]
fn the_tables_are_read_as_it_is_written() {
    let env = TestEnv::postgres();
    let server = env.start();
    assert!(ask(&server, &["hello"]).status.success());
    env.execute(&procedure("read-the-tables")).unwrap();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The names of metrics in a text. What a histogram is exported as counts as the histogram.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let metrics = words.filter(|word| word.starts_with("tithe_"));
    let ends = ["_bucket", "_sum", "_count"];
    metrics
        .map(|word| ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned())
        .collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let known: BTreeSet<&str> = declared().map(|metric| metric.name).collect();
    for file in
        ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml", "deploy/grafana/tithe.json"]
    {
        let names = named(&read(file));
        assert!(names.len() > 5, "{file}");
        for name in names {
            assert!(known.contains(name.as_str()), "{file}: {name} is not declared");
        }
    }
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/tithe.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
    // What is measured can be seen.
    let shown = named(&dashboard.to_string());
    let alerts = named(&read("deploy/prometheus/alerts.yml"));
    let only_numbers =
        ["tithe_build_info", "tithe_ledger_transfers", "tithe_ledger_reading_timestamp_seconds"];
    for Metric { name, .. } in declared() {
        let seen = shown.contains(*name) || alerts.contains(*name) || only_numbers.contains(name);
        assert!(seen, "{name} is on no panel and in no alert");
    }
}

/// The line of a metric in the chapter.
fn line(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
    format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.as_str(), labels.join(", "), metric.help)
}

#[test]
fn the_chapter_lists_every_metric_and_every_alert() {
    let chapter = read("docs/operating/observe.md");
    let listed: Vec<&str> = chapter.lines().filter(|line| line.starts_with("| `tithe_")).collect();
    let expected: Vec<String> = declared().map(line).collect();
    assert_eq!(listed, expected, "the table is to be:\n{}", expected.join("\n"));
    let rules = read("deploy/prometheus/alerts.yml");
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let explained = chapter.lines().filter_map(|line| line.strip_prefix("| `Tithe")?.split_once('`'));
    let explained: BTreeSet<String> = explained.map(|(name, _)| format!("Tithe{name}")).collect();
    assert_eq!(explained, alerts.iter().map(|alert| (*alert).to_owned()).collect());
}

/// Values that nobody but the recorder's owner can choose.
#[test]
fn what_a_customer_sends_is_no_label() {
    let env = TestEnv::sqlite();
    let server = start(&env);
    let path = "/api/jobs/00000000-0000-0000-0000-000000000000/secret-path";
    get(&server.url(path), None);
    let wrong = ask(&server, &["hello", "--model", "secret-model"]);
    assert!(!wrong.status.success(), "{}", text(&wrong.stdout));
    let (_, page) = get(&listener(&env), None);
    assert!(!page.contains("secret"), "{page}");
}
