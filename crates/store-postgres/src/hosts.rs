//! The hosts of a URL, one by one.

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// One host of a URL, with how to connect to it.
#[derive(Debug)]
pub(crate) struct OneHost {
    pub(crate) config: Config,
    /// Host and port, for messages.
    pub(crate) at: String,
}

/// The hosts of a URL, in its order, each with all its settings.
pub(crate) fn hosts(config: &Config) -> Vec<OneHost> {
    let count = config.get_hosts().len().max(config.get_hostaddrs().len());
    (0..count).map(|n| OneHost { config: only(config, n), at: name(config, n) }).collect()
}

fn port(config: &Config, n: usize) -> u16 {
    let ports = config.get_ports();
    ports.get(n).or(ports.first()).copied().unwrap_or(5432)
}

fn name(config: &Config, n: usize) -> String {
    let port = port(config, n);
    match config.get_hosts().get(n) {
        Some(Host::Tcp(name)) => format!("{name}:{port}"),
        #[cfg(unix)]
        Some(Host::Unix(path)) => format!("{}:{port}", path.display()).replace(' ', "%20"),
        None => config.get_hostaddrs().get(n).map_or_else(String::new, |address| format!("{address}:{port}")),
    }
}

/// The settings of a URL, with its nth host alone.
fn only(all: &Config, n: usize) -> Config {
    let mut config = Config::new();
    match all.get_hosts().get(n) {
        Some(Host::Tcp(name)) => drop(config.host(name)),
        #[cfg(unix)]
        Some(Host::Unix(path)) => drop(config.host_path(path)),
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(n) {
        config.hostaddr(*address);
    }
    config.port(port(all, n));
    if let Some(user) = all.get_user() {
        config.user(user);
    }
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(database) = all.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    if let Some(name) = all.get_application_name() {
        config.application_name(name);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        config.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        config.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts())
        .target_session_attrs(all.get_target_session_attrs());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What differs between the two is the host alone, so a setting that is forgotten here shows.
    #[test]
    fn each_host_keeps_all_settings() {
        let settings = "user=u password=p dbname=d options=-cx=y application_name=n sslmode=require sslnegotiation=direct \
            connect_timeout=3 tcp_user_timeout=4 keepalives=0 keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 \
            target_session_attrs=read-write channel_binding=require load_balance_hosts=random";
        let parse = |hosts: &str| format!("{settings} {hosts}").parse::<Config>().unwrap();
        let both = hosts(&parse("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2"));
        assert_eq!(both[0].config, parse("host=a hostaddr=10.0.0.1 port=1"));
        assert_eq!(both[1].config, parse("host=b hostaddr=10.0.0.2 port=2"));
        assert_eq!(both.iter().map(|host| host.at.as_str()).collect::<Vec<_>>(), ["a:1", "b:2"]);
        // One port may be for all hosts.
        assert_eq!(hosts(&parse("host=a,b port=7"))[1].at, "b:7");
        assert_eq!(hosts(&parse("host=/run/x"))[0].at, "/run/x:5432");
    }
}
