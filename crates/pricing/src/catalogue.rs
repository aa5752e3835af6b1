//! The models on sale.

use crate::Model;
use std::collections::BTreeMap;

/// The models on sale, by name: collected from [`Model`]s, or read from a TOML file (feature `toml`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    pub(crate) as_of: String,
    pub(crate) source: String,
    pub(crate) models: BTreeMap<String, Model>,
}

impl Catalogue {
    /// This catalogue with `other`'s models added; those of the same name are replaced.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.models.extend(other.models);
        self
    }

    /// This catalogue with the date and the source of its prices.
    #[must_use]
    pub fn dated(self, as_of: String, source: String) -> Self {
        Self { as_of, source, ..self }
    }

    /// The model with this name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// All models, ordered by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The date of the prices, as stated in the file; empty for a collected catalogue.
    #[must_use]
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// The source of the prices, as stated in the file; empty for a collected catalogue.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Of models with the same name, the last one counts.
impl FromIterator<Model> for Catalogue {
    fn from_iter<I: IntoIterator<Item = Model>>(models: I) -> Self {
        let models = models.into_iter().map(|model| (model.name.clone(), model)).collect();
        Self { as_of: String::new(), source: String::new(), models }
    }
}
