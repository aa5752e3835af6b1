//! `tithe healthcheck`: whether the server of this configuration is ready, for service managers and containers without other programs.

use crate::config::Config;
use crate::failure::{Failure, doing};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// How long the server may take to check itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// What `/readyz` answers.
#[derive(Deserialize)]
struct Ready {
    status: String,
    checks: BTreeMap<String, Check>,
}

#[derive(Deserialize)]
struct Check {
    problem: Option<String>,
}

/// Asks the server of this configuration, which runs on this machine. Succeeds if it is ready; otherwise says what is missing.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let url = format!("http://{}/readyz", on_this_machine(config.server.listen));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ready = runtime.block_on(ask(&url)).map_err(doing(format!("no answer from {url}")))?;
    println!("{}", ready.status);
    for (name, check) in &ready.checks {
        if let Some(problem) = &check.problem {
            println!("  {name}: {problem}");
        }
    }
    Ok(if ready.status == "ready" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(url: &str) -> Result<Ready, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    client.get(url).send().await?.json().await
}

/// Where a server that listens on an address can be reached from its own machine.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_the_loopback_address() {
        for (listen, asked) in
            [("0.0.0.0:8402", "127.0.0.1:8402"), ("[::]:8402", "[::1]:8402"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(on_this_machine(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
