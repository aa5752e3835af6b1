//! The resolver.

use crate::failure::{
    callback_refused, host_refused, refused, request_failed, service_reason, unavailable, unexpected_status,
};
use crate::pay_request::{PayRequest, read_invoice};
use crate::reply::Reply;
use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;
use tithe_lightning::{Bolt11, Network};
use tithe_money::Sats;
use tithe_payouts::{AddressError, AddressResolver, LightningAddress};
use tithe_public_http::{ClientError, Destinations, Limits, PublicClient, Response, StatusCode, Url};

/// The largest response. The metadata may contain an image of up to 136,536 characters (LUD-06).
const BODY_BYTES_MAX: usize = 256 * 1024;
/// The redirects that each of the two requests follows.
const REDIRECTS_MAX: u8 = 3;

/// What remains as it is in a path: all that names contain but `+`, which some servers take for a space.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The settings of [`LnurlResolver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LnurlSettings {
    /// The network that invoices must be payable on.
    pub network: Network,
    /// Which hosts are asked. The public internet by default. With [`Destinations::Any`], hosts may have a port, and those that are
    /// an IP address or `localhost` are asked by http instead of https.
    pub destinations: Destinations,
    /// The timeout of each of the two requests with its redirects and the whole response. Ten seconds by default.
    pub timeout: Duration,
}

impl LnurlSettings {
    /// The default settings for a network.
    #[must_use]
    pub const fn new(network: Network) -> Self {
        Self { network, destinations: Destinations::Public, timeout: Duration::from_secs(10) }
    }
}

/// The HTTP client cannot be created: the system's certificates or its random source are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve Lightning addresses")]
pub struct LnurlClientError(#[from] ClientError);

/// Gets invoices from Lightning addresses by LNURL-pay.
#[derive(Debug, Clone)]
pub struct LnurlResolver {
    client: PublicClient,
    settings: LnurlSettings,
}

impl LnurlResolver {
    /// A resolver with these settings. It connects to nothing yet.
    ///
    /// # Errors
    /// [`LnurlClientError`].
    pub fn new(settings: LnurlSettings) -> Result<Self, LnurlClientError> {
        let limits =
            Limits { time: settings.timeout, body_bytes_max: BODY_BYTES_MAX, redirects_max: REDIRECTS_MAX };
        Ok(Self { client: PublicClient::new(settings.destinations, limits)?, settings })
    }

    /// The URL that describes payments to an address (LUD-16).
    fn service_url(&self, address: &LightningAddress) -> Result<Url, AddressError> {
        let (name, host) = (address.name(), address.host());
        // These would be taken for parts of the path, even encoded.
        if matches!(name, "." | "..") {
            return Err(refused("invalid name: expected a letter or a digit"));
        }
        let is_any = self.settings.destinations == Destinations::Any;
        if !is_any && host.contains(':') {
            return Err(refused("the host is not allowed: expected a host without a port"));
        }
        let url = |scheme| {
            let name = utf8_percent_encode(name, NAME);
            self.client.check(&format!("{scheme}://{host}/.well-known/lnurlp/{name}")).map_err(host_refused)
        };
        let https = url("https")?;
        if is_any && is_local(&https) { url("http") } else { Ok(https) }
    }

    /// The URL that returns an invoice for an amount (LUD-06, step 4). The callback may have a query of its own.
    fn invoice_url(&self, callback: &str, amount: Sats) -> Result<Url, AddressError> {
        let mut url = self.client.check(callback).map_err(callback_refused)?;
        url.query_pairs_mut().append_pair("amount", &amount.to_msats().get().to_string());
        url.set_fragment(None);
        Ok(url)
    }

    async fn pay_request(&self, url: Url) -> Result<PayRequest, AddressError> {
        let response = self.client.get(url).await.map_err(request_failed)?;
        let status = response.status();
        let reply = read(response);
        if let Ok(reply) = &reply
            && let Some(reason) = reply.error()
        {
            let reason = service_reason(&reason);
            // Only the status says that it is for good; the words may be about a moment's trouble.
            let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
            return Err(if is_gone { refused(reason) } else { unavailable(reason) });
        }
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(refused("the service does not know the address")),
            _ if status.is_success() => PayRequest::read(&reply?),
            _ => Err(unexpected_status(status)),
        }
    }

    async fn requested_invoice(&self, url: Url, amount: Sats) -> Result<Bolt11, AddressError> {
        let response = self.client.get(url).await.map_err(request_failed)?;
        let status = response.status();
        let reply = read(response);
        if let Ok(reply) = &reply
            && let Some(reason) = reply.error()
        {
            // The address exists and the amount is in its range, so this may pass: the service's node may be offline.
            return Err(unavailable(service_reason(&reason)));
        }
        if !status.is_success() {
            return Err(unexpected_status(status));
        }
        read_invoice(&reply?, self.settings.network, amount)
    }
}

#[async_trait]
impl AddressResolver for LnurlResolver {
    fn check(&self, address: &LightningAddress) -> Result<(), AddressError> {
        self.service_url(address).map(drop)
    }

    async fn invoice(&self, address: &LightningAddress, amount: Sats) -> Result<Bolt11, AddressError> {
        let service = self.pay_request(self.service_url(address)?).await?;
        service.check_amount(amount)?;
        self.requested_invoice(self.invoice_url(&service.callback, amount)?, amount).await
    }
}

/// The reply in a response. What an overloaded or broken server says is no reply of the service.
fn read(response: Response) -> Result<Reply, AddressError> {
    let status = response.status();
    let is_temporary = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if is_temporary {
        return Err(unexpected_status(status));
    }
    let body = response.into_body().map_err(request_failed)?;
    Reply::parse(&body)
        .ok_or_else(|| unavailable("unreadable response of the service: expected a JSON object"))
}

/// Whether a host usually has no certificate: an IP address, or this machine.
fn is_local(url: &Url) -> bool {
    url.domain().is_none_or(|name| name == "localhost" || name.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(destinations: Destinations) -> LnurlResolver {
        LnurlResolver::new(LnurlSettings { destinations, ..LnurlSettings::new(Network::Regtest) }).unwrap()
    }

    fn service_url(destinations: Destinations, address: &str) -> Result<String, AddressError> {
        resolver(destinations).service_url(&address.parse().unwrap()).map(String::from)
    }

    #[test]
    fn the_url_of_an_address_is_well_known() {
        for (address, url) in [
            ("alice@example.com", "https://example.com/.well-known/lnurlp/alice"),
            ("Al.ice_1-x+tips@Example.com", "https://example.com/.well-known/lnurlp/al.ice_1-x%2Btips"),
            ("...@example.com", "https://example.com/.well-known/lnurlp/..."),
        ] {
            assert_eq!(service_url(Destinations::Public, address).as_deref(), Ok(url));
            assert_eq!(service_url(Destinations::Any, address).as_deref(), Ok(url));
        }
        for name in [".", ".."] {
            assert!(service_url(Destinations::Public, &format!("{name}@example.com")).is_err(), "{name}");
        }
    }

    #[test]
    fn any_host_may_have_a_port_and_local_ones_are_asked_by_http() {
        for (host, url) in [
            ("example.com:8443", "https://example.com:8443/"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("192.168.1.1:443", "http://192.168.1.1:443/"),
            ("localhost:80", "http://localhost/"),
            ("node.localhost", "http://node.localhost/"),
            ("intranet", "https://intranet/"),
        ] {
            let found = service_url(Destinations::Any, &format!("a@{host}"));
            assert_eq!(found, Ok(format!("{url}.well-known/lnurlp/a")));
        }
    }

    #[test]
    fn the_amount_is_added_to_the_callbacks_own_query() {
        let amount = Sats::new(7).unwrap();
        for (callback, url) in [
            ("https://example.com/cb", "https://example.com/cb?amount=7000"),
            ("https://example.com/cb?", "https://example.com/cb?amount=7000"),
            ("https://example.com:8443/cb?a=%20b&c#d", "https://example.com:8443/cb?a=%20b&c&amount=7000"),
        ] {
            let found = resolver(Destinations::Public).invoice_url(callback, amount);
            assert_eq!(found.map(String::from).as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_callback_meets_the_rules_that_the_first_url_meets() {
        for (callback, reason) in [
            ("/cb", "invalid URL"),
            ("http://example.com/cb", "invalid URL"),
            ("file:///etc/passwd", "invalid URL"),
            ("https://user:secret@example.com/cb", "unexpected credentials"),
            ("https://abcdefgh.onion/cb", "onion service"),
            ("https://127.0.0.1/cb", "private address"),
            ("https://2130706433/cb", "private address"),
            ("https://169.254.169.254/latest/meta-data/", "private address"),
            ("https://[::1]:8332/", "private address"),
            ("https://localhost./cb", "private address"),
        ] {
            let refused = resolver(Destinations::Public).invoice_url(callback, Sats::ZERO).unwrap_err();
            let AddressError::Refused { reason: found } = refused else { panic!("{callback}: {refused}") };
            let expected = format!("the callback of the service is not allowed: {reason}");
            assert!(found.starts_with(&expected), "{callback}: {found}");
        }
    }
}
