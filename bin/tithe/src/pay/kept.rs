//! What is kept of a payment until its request was served, so that nothing is paid twice.

use super::challenge::Offer;
use crate::private;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tithe_clock::SystemEntropy;
use tithe_lightning::PaymentId;

/// The files of one request, which only their owner can read.
pub(super) struct Kept {
    begun: PathBuf,
    proof: PathBuf,
}

/// A payment that was begun.
#[derive(Serialize, Deserialize)]
struct Note {
    id: String,
    offer: Offer,
    /// Missing in the notes of older versions.
    payer: Option<String>,
}

/// A payment that was begun.
pub(super) struct Begun {
    pub(super) id: PaymentId,
    pub(super) offer: Offer,
    /// The name of who pays; `None` if it was not noted.
    pub(super) payer: Option<String>,
}

impl Kept {
    /// In the user's data folder.
    pub(super) fn of(digest: &str) -> Result<Self, Box<dyn Error>> {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification says to ignore a relative path.
        let folder = path("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
        let folder = folder.or_else(|| Some(path("HOME")?.join(".local/share")));
        let folder = folder.ok_or("no place for proofs: HOME is not set")?.join("tithe").join("payments");
        private::make_folder(&folder)?;
        Ok(Self {
            begun: folder.join(format!("{digest}.begun")),
            proof: folder.join(format!("{digest}.proof")),
        })
    }

    /// Where the proof is.
    pub(super) fn proof_place(&self) -> String {
        self.proof.display().to_string()
    }

    /// Where it is noted that a payment was begun.
    pub(super) fn begun_place(&self) -> String {
        self.begun.display().to_string()
    }

    pub(super) fn proof(&self) -> Result<Option<String>, std::io::Error> {
        read(&self.proof)
    }

    pub(super) fn begun(&self) -> Result<Option<Begun>, Box<dyn Error>> {
        let Some(text) = read(&self.begun)? else { return Ok(None) };
        let Note { id, offer, payer } = serde_json::from_str(&text)?;
        Ok(Some(Begun { id: id.parse().map(PaymentId)?, offer, payer }))
    }

    /// Stores that a payment begins; fails if another process pays for the same request.
    pub(super) fn begin(&self, begun: &Begun) -> Result<(), Box<dyn Error>> {
        let Begun { id, offer, payer } = begun;
        let offer = serde_json::to_value(offer)?;
        let text = serde_json::json!({ "id": id.to_string(), "offer": offer, "payer": payer }).to_string();
        Ok(private::write_new(&self.begun, &text, &SystemEntropy)?)
    }

    pub(super) fn keep(&self, proof: &str) -> std::io::Result<()> {
        private::write_new(&self.proof, proof, &SystemEntropy)
    }

    /// Forgets a payment that was not made. One that another process has begun since stays.
    pub(super) fn forget_payment(&self, id: PaymentId) -> Result<(), Box<dyn Error>> {
        if self.begun()?.is_some_and(|begun| begun.id == id) {
            remove(&self.begun)?;
        }
        Ok(())
    }

    /// The next request like this one is a new one.
    pub(super) fn forget(&self) -> std::io::Result<()> {
        [&self.begun, &self.proof].into_iter().try_for_each(|file| remove(file))
    }
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(failure) if failure.kind() != ErrorKind::NotFound => Err(failure),
        _ => Ok(()),
    }
}

fn read(file: &Path) -> Result<Option<String>, std::io::Error> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
