//! A real proxy, as a process.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The name in the examples.
pub(crate) const NAME: &str = "tithe.example";

/// Which proxy, and with which configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `deploy/nginx/tithe.conf`.
    Nginx,
    /// `deploy/caddy/Caddyfile`.
    Caddy,
    /// `proxy_pass`, and nothing else.
    PlainNginx,
    /// `reverse_proxy`, and nothing else.
    PlainCaddy,
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    is_tls: bool,
}

impl Proxy {
    /// Starts one in front of two servers.
    pub(crate) fn start(kind: Kind, address: SocketAddr, servers: [&str; 2], folder: &Path) -> Self {
        let (program, arguments) = match kind {
            Kind::Nginx | Kind::PlainNginx => {
                let file = nginx(kind, address, servers, folder);
                ("TITHE_TEST_NGINX", vec!["-e".to_owned(), "stderr".to_owned(), "-c".to_owned(), file])
            }
            Kind::Caddy | Kind::PlainCaddy => {
                let file = caddy(kind, address, servers, folder);
                let adapter = ["--adapter", "caddyfile", "--config"].map(str::to_owned);
                ("TITHE_TEST_CADDY", [&["run".to_owned()], &adapter[..], &[file]].concat())
            }
        };
        let program =
            std::env::var(program).unwrap_or_else(|_| panic!("{program} is not set: `just test-proxies`"));
        let log = fs::File::create(folder.join("proxy.log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let is_tls = matches!(kind, Kind::Nginx | Kind::Caddy);
        let mut proxy = Self { child, address, is_tls };
        let until = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(address).is_err() {
            let ended = proxy.child.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("proxy.log")).unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "the proxy does not serve: {ended:?}\n{}",
                log()
            );
        }
        proxy
    }

    /// The URL at which customers reach the servers.
    pub(crate) fn url(&self) -> String {
        public_url(self.is_tls, self.address)
    }
}

/// The URL of a proxy that listens there.
pub(crate) fn public_url(is_tls: bool, address: SocketAddr) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{NAME}:{}", address.port())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _already_gone = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _already_waited = self.child.wait();
    }
}

/// A port that nobody uses at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An example, with other addresses; each of them must be in it.
fn example(path: &str, substitutions: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path);
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in substitutions {
        assert!(text.contains(from), "{path} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

fn written(file: &Path, text: &str) -> String {
    fs::write(file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn nginx(kind: Kind, address: SocketAddr, servers: [&str; 2], folder: &Path) -> String {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (port, other) = (address.to_string(), free_address().to_string());
    let site = if kind == Kind::Nginx {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = written(&folder.join("fullchain.pem"), &cert.pem());
        let key = written(&folder.join("privkey.pem"), &signing_key.serialize_pem());
        example(
            "nginx/tithe.conf",
            &[
                ("10.0.0.11:8402", servers[0]),
                ("10.0.0.12:8402", servers[1]),
                ("listen [::]:80;", ""),
                ("listen [::]:443 ssl http2;", ""),
                ("listen 80;", &format!("listen {other};")),
                ("listen 443 ssl http2;", &format!("listen {port} ssl http2;")),
                ("/etc/letsencrypt/live/tithe.example/fullchain.pem", &certificate),
                ("/etc/letsencrypt/live/tithe.example/privkey.pem", &key),
                ("/var/log/nginx/tithe.access.log", &at("access.log")),
            ],
        )
    } else {
        let [one, two] = servers;
        format!(
            "upstream tithe {{ server {one}; server {two}; }}\n\
             server {{ listen {port}; location / {{ proxy_pass http://tithe; }}\n\
             location /one/ {{ proxy_pass http://{one}/; }} }}\n"
        )
    };
    let site = written(&folder.join("tithe.conf"), &site);
    // The workers of root's nginx are somebody else, who may not write to this folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {};", at(name))).join("\n");
    let text = format!(
        "{user}\ndaemon off;\nworker_processes 2;\npid {};\nerror_log stderr info;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\n{temporary}\ninclude {site};\n}}\n",
        at("nginx.pid")
    );
    written(&folder.join("nginx.conf"), &text)
}

fn caddy(kind: Kind, address: SocketAddr, servers: [&str; 2], folder: &Path) -> String {
    let port = address.port();
    let options = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n";
    let site = if kind == Kind::Caddy {
        example(
            "caddy/Caddyfile",
            &[
                ("10.0.0.11:8402", servers[0]),
                ("10.0.0.12:8402", servers[1]),
                (
                    "\ntithe.example {",
                    &format!("\ntithe.example:{port} {{\n\tbind 127.0.0.1\n\ttls internal"),
                ),
            ],
        )
    } else {
        let [one, two] = servers;
        format!(
            "http://:{port} {{\n\tbind 127.0.0.1\n\thandle_path /one/* {{\n\t\treverse_proxy {one} {{\n\t\t\theader_up Host {{upstream_hostport}}\n\t\t}}\n\t}}\n\treverse_proxy {one} {two}\n}}\n"
        )
    };
    written(&folder.join("Caddyfile"), &(options.to_owned() + &site))
}
