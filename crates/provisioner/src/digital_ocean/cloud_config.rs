//! The cloud-init configuration of a droplet: its "user data".
//!
//! By the documentation of cloud-init (<https://docs.cloud-init.io/en/latest/reference/modules.html>). The configuration is JSON,
//! which is YAML as well. A set-up script is in base64, because YAML does not allow every character.
//!
//! `DigitalOcean` gives `root` of a droplet that is made without one of the account's SSH keys a password that it mails to the
//! operator, and which must be changed at the first login. Neither suits the customer of a node, so:
//!
//! - with an SSH key, `usermod --password '*'` removes the password, and with it the need to change it, which would stop even logins by
//!   key. Logins by password are turned off;
//! - without one, the order's password replaces it. It must be changed at the first login, because the droplet's metadata service
//!   still shows it to every process on the droplet.
//!
//! While the password of `root` is expired, packages that add users cannot be installed. A set-up script therefore runs before
//! the password is expired.

use super::settings::SetupScript;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tithe_bootstrap::{Order, RootPassword};

/// Where the set-up script is.
const SETUP_PATH: &str = "/opt/tithe/setup.sh";

/// The configuration for the node of an order.
pub(super) fn of(order: &Order, setup: Option<&SetupScript>) -> String {
    let mut commands: Vec<Value> = Vec::new();
    let mut config = match (&order.ssh_public_key, &order.root_password) {
        (Some(key), _) => {
            commands.push(json!(["usermod", "--password", "*", "root"]));
            json!({
                "disable_root": false,
                "ssh_pwauth": false,
                "users": [{"name": "root", "ssh_authorized_keys": [key.as_str()]}],
            })
        }
        (None, password) => json!({
            "disable_root": false,
            "ssh_pwauth": true,
            "chpasswd": {
                "expire": setup.is_none(),
                "users": [{
                    "name": "root",
                    "password": password.as_ref().map(RootPassword::reveal),
                    "type": "text",
                }],
            },
        }),
    };
    if let (Some(script), Some(config)) = (setup, config.as_object_mut()) {
        commands.push(json!([SETUP_PATH]));
        if order.ssh_public_key.is_none() {
            commands.push(json!(["passwd", "--expire", "root"]));
        }
        let file = json!({
            "path": SETUP_PATH,
            "permissions": "0700",
            "owner": "root:root",
            "encoding": "b64",
            "content": STANDARD.encode(script.as_str()),
        });
        config.insert("write_files".to_owned(), json!([file]));
    }
    if let (false, Some(config)) = (commands.is_empty(), config.as_object_mut()) {
        config.insert("runcmd".to_owned(), commands.into());
    }
    format!("#cloud-config\n{config}")
}
