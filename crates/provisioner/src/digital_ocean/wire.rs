//! The API's documents, as far as they are used.

use serde::{Deserialize, Serialize};

/// The body of `POST /v2/droplets`.
#[derive(Serialize)]
pub(super) struct NewDroplet {
    pub name: String,
    pub region: String,
    pub size: String,
    pub image: Image,
    pub tags: Vec<String>,
    pub ipv6: bool,
    pub monitoring: bool,
    /// Contains the password. Therefore there is no `Debug`.
    pub user_data: String,
}

/// A public image by its name, or an image of the account by its number.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Image {
    Number(u64),
    Name(String),
}

impl From<&str> for Image {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }
}

/// The response to `POST /v2/droplets`.
#[derive(Deserialize)]
pub(super) struct Created {
    pub droplet: Droplet,
}

/// The response to `GET /v2/droplets`.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub droplets: Vec<Droplet>,
}

/// A droplet.
#[derive(Debug, Deserialize)]
pub(super) struct Droplet {
    pub id: u64,
    pub status: String,
    /// In RFC 3339 and UTC, so that texts sort as times do.
    #[serde(default)]
    pub created_at: String,
    networks: Option<Networks>,
}

#[derive(Debug, Deserialize)]
struct Networks {
    v4: Option<Vec<NetworkV4>>,
}

#[derive(Debug, Deserialize)]
struct NetworkV4 {
    ip_address: String,
    /// `public` or `private`.
    r#type: String,
}

impl Droplet {
    /// The first public IPv4 address.
    pub fn public_address(&self) -> Option<&str> {
        let networks = self.networks.as_ref()?.v4.as_ref()?;
        networks.iter().find(|network| network.r#type == "public").map(|network| network.ip_address.as_str())
    }
}

/// The body of an error response.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    /// The name of the error, such as `unprocessable_entity`.
    #[serde(default)]
    pub id: String,
    /// What is wrong, in words.
    #[serde(default)]
    pub message: String,
    /// The number by which `DigitalOcean`'s support finds the request.
    pub request_id: Option<String>,
}
