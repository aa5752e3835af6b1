//! The credentials of a node that its customer opens as `root`.

use tithe_bootstrap::{Credentials, Order};

/// The credentials for `root`: the order's password, or the remark that the customer's own SSH key opens the node. `None` if
/// the order has neither.
pub(crate) fn of_root(order: &Order) -> Option<Credentials> {
    let (name, value) = match (&order.ssh_public_key, &order.root_password) {
        (Some(_), _) => ("sshKey", "your own"),
        (None, Some(password)) => ("password", password.reveal()),
        (None, None) => return None,
    };
    let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Some(Credentials([entry("user", "root"), entry(name, value)].into()))
}

/// The reason why the node of an order without credentials cannot be made.
pub(crate) const MISSING: &str = "invalid order: expected an SSH public key or a root password";
