# What a developer does with Tithe. `just` alone lists it.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List these recipes
default:
    @just --list --unsorted

# Run the server with play money on 127.0.0.1:8402
run *args:
    TITHE_DEV=1 cargo run --package tithe -- serve {{ args }}

# Run every test that needs nothing but this machine
test *args:
    RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) * 3))}" cargo run --quiet --package tithe-test-postgres --bin with-postgres -- cargo test --workspace {{ args }}

# Everything that CI checks besides the tests: format, lints, layers, dependencies, spelling, documents
check: _tools layers
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo check --package tithe --features otel
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
    just alone
    just package
    cargo deny --log-level error check bans licenses sources
    if cargo deny --log-level off fetch db 2>/dev/null; then cargo deny --log-level error check advisories; else echo "the advisory database cannot be reached; advisories were not checked"; fi
    typos

# Check that dependencies point down only
layers:
    .ci/layers

# Build each domain crate alone, as another service would, with the features it has by default, and with none
alone:
    for crate in label money clock pricing trust ledger lightning free-tier paywall jobs sessions bootstrap payouts chat openai-chat openai-responses anthropic-messages; do cargo build --quiet --package "tithe-$crate"; done
    cargo build --quiet --package tithe-pricing --no-default-features

# Package the domain crates, and run the example of another service on the packages
package:
    .ci/package

# Compare the public API of the domain crates with that of a Git revision, by the rules of semantic versioning
semver revision="HEAD":
    command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
    cargo semver-checks --baseline-rev {{ revision }} --package tithe-label --package tithe-money --package tithe-clock --package tithe-pricing --package tithe-trust --package tithe-ledger --package tithe-lightning --package tithe-free-tier --package tithe-paywall --package tithe-jobs --package tithe-sessions --package tithe-bootstrap --package tithe-payouts --package tithe-chat --package tithe-openai-chat --package tithe-openai-responses --package tithe-anthropic-messages

# Write docs/openapi.json anew
openapi:
    cargo run --quiet --package tithe -- openapi > docs/openapi.json

# Write the table of settings in docs/operating/configure.md anew
settings:
    .ci/settings

# Kill servers at random moments while customers buy: `just chaos [sqlite|postgres] [long|short]`; CI runs the short ones
chaos *which:
    @[[ "{{ which }}" =~ ^(sqlite|postgres)?\ ?(long|short)?$ ]] || { echo "chaos is [sqlite|postgres] [long|short]" >&2; exit 2; }
    TITHE_TEST_CHAOS_STORE={{ if which =~ 'postgres' { "postgres" } else { "sqlite" } }} TITHE_TEST_CHAOS={{ if which =~ 'short' { "short" } else { "long" } }} cargo test --package tithe --test chaos -- --ignored --nocapture

# Promote a standby under load, and let the old primary come back: `just failover [runs|short]`; CI runs the short one
failover runs="20":
    @[[ "{{ runs }}" =~ ^([0-9]+|short)$ ]] || { echo "failover is [runs|short]" >&2; exit 2; }
    TITHE_TEST_FAILOVER_RUNS={{ if runs == "short" { "1" } else { runs } }} .ci/with-postgres-18 cargo test --package tithe --test failover -- --ignored --nocapture --test-threads=1

# Refuse PgBouncer where it shares sessions; it is installed from Debian's packages if there is none
test-pgbouncer:
    .ci/with-pgbouncer cargo test --package tithe-store-postgres --test servers poolers -- --ignored

# Every fault between an offer and the end of its payment, also of payments that are held, on SQLite and PostgreSQL; the tests have some of each step
test-faults:
    TITHE_TEST_FAULTS=long cargo run --quiet --package tithe-test-postgres --bin with-postgres -- cargo test --package tithe-engine --test engine -- paid_faults held_jobs_faults held_requests_faults --include-ignored

# A client that never pays, at full speed for a minute, while others buy; the tests run it for a few seconds
test-flood seconds="60":
    TITHE_TEST_FLOOD_SECONDS={{ seconds }} cargo test --package tithe --test process a_client_that_never_pays -- --nocapture

# Run a job on a real llama-server, which is fetched from Debian's packages if there is none
test-llama:
    .ci/with-llama cargo test --package tithe-inference --package tithe --test llama -- --ignored --nocapture

# Serve the clients of other vendors, unchanged, and run the code of docs/clients.md: `just test-clients [long|short]`; CI runs the short ones; `.ci/with-llama just test-clients` adds a real model
test-clients which="long" *args:
    @[[ "{{ which }}" =~ ^(long|short)$ ]] || { echo "test-clients is [long|short]" >&2; exit 2; }
    .ci/with-clients {{ which }} cargo test --package tithe --test clients {{ args }} -- --ignored {{ if which == "short" { "short::" } else { "" } }}

# Serve the clients that pay for each request by themselves, unchanged (L402 and `Payment`): `just test-paywall [long|short]`; `long` pays over a Lightning channel, too; CI runs the short ones in `just test-clients short`
test-paywall which="long" *args:
    @[[ "{{ which }}" =~ ^(long|short)$ ]] || { echo "test-paywall is [long|short]" >&2; exit 2; }
    .ci/with-clients short cargo test --package tithe --test clients {{ args }} -- --ignored {{ if which == "short" { "short::pays_for_each_request" } else { "pays_for_each_request" } }}

# Log in and ask with events that other implementations of Nostr have signed: nostr-tools (npm) and nostr-sdk (PyPI)
test-nostr:
    npm install --silent --no-audit --no-fund --prefix target/nostr nostr-tools@2
    python3 -m venv target/nostr/venv
    target/nostr/venv/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.44.8
    TITHE_TEST_NOSTR="$PWD/target/nostr" cargo test --package tithe --test process nostr -- --ignored --nocapture

# Narrow and mint macaroons with other implementations: pymacaroons (PyPI) and macaroon (npm)
test-macaroons:
    npm install --silent --no-audit --no-fund --prefix target/macaroons macaroon@3
    python3 -m venv target/macaroons/venv
    target/macaroons/venv/bin/pip install --quiet --disable-pip-version-check pymacaroons==0.13.0
    TITHE_TEST_MACAROONS="$PWD/target/macaroons" cargo test --package tithe-paywall --test interop -- --ignored --nocapture

# Test the API's document: its style, requests that are generated from it, and a client that is generated from it
test-api:
    npm install --silent --no-audit --no-fund --prefix target/api @redocly/cli@2
    target/api/node_modules/.bin/redocly lint docs/openapi.json
    python3 -m venv target/api/venv
    target/api/venv/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5 openapi-python-client==0.29.1
    target/api/venv/bin/openapi-python-client generate --path docs/openapi.json --output-path target/api/generated --overwrite --meta none
    TITHE_TEST_API="$PWD/target/api" cargo test --package tithe --test process api:: -- --ignored --nocapture

# Sell and refund over real Lightning channels, at every kind of wallet; LNbits is installed from the Python package index
test-lightning which="long":
    @[[ "{{ which }}" =~ ^(long|short)$ ]] || { echo "test-lightning is [long|short]" >&2; exit 2; }
    cargo test --package tithe --test lightning -- --nocapture {{ if which == 'short' { "--ignored lnbits::" } else { "--include-ignored" } }}
    [[ "{{ which }}" == short ]] || cargo test --package tithe-test-lightning -- --include-ignored
    .ci/with-lnbits cargo test --package tithe-wallet-lnbits --test real -- --ignored

# Pay in and out over a real LNbits, which is installed from the Python package index
test-lnbits:
    cargo test --package tithe-test-lightning --test lnbits -- --ignored --nocapture

# Check the alert rules, and run their tests, with Prometheus's own tool, which is installed from Debian's packages
test-alerts:
    .ci/test-alerts

# Send traces of a sale to a collector
test-traces:
    cargo test --package tithe --features otel --test process traces:: -- --nocapture

# Restart servers under load behind the examples for nginx and Caddy, which are fetched from Debian's packages if there are none
test-proxies *args:
    .ci/with-proxies cargo run --quiet --package tithe-test-postgres --bin with-postgres -- cargo test --package tithe --test proxies {{ args }} -- --ignored --nocapture

# Test the packages in deploy/, and the chapter on installing as it is written, on two scratch Debians; needs root: `just test-deploy [long|short]`; CI runs the short one, without the chapter
test-deploy which="long":
    @[[ "{{ which }}" =~ ^(long|short)$ ]] || { echo "test-deploy is [long|short]" >&2; exit 2; }
    .ci/deploy {{ which }}

# Measure debits against the floor of the database; `just bench --help` lists what else
bench *args:
    {{ if args =~ '^api' { "cargo build --release --package tithe" } else { "true" } }}
    cargo run --release --package tithe-bench -- {{ args }}

# All that CI does
ci:
    .ci/run

# The tools that `check` needs
_tools:
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    command -v typos >/dev/null || cargo install --locked typos-cli
