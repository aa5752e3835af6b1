//! The node's key, and the invoices that it signs.

use crate::SimError;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use lightning_invoice::{Bolt11Invoice, CreationError, Currency, InvoiceBuilder, PaymentSecret};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tithe_clock::Entropy;
use tithe_lightning::PaymentHash;
use tithe_money::Sats;

/// Blocks that the last hop must leave to claim the payment, as common nodes ask for.
const MIN_FINAL_CLTV_DELTA: u64 = 80;
const KEY_FILE: &str = "node.key";
const NEW_KEY_FILE: &str = "node.key.new";

/// What an invoice says.
pub(crate) struct Terms {
    pub payment_hash: PaymentHash,
    pub payment_secret: [u8; 32],
    pub amount: Sats,
    pub description: String,
    /// Since 1970, whole seconds.
    pub created_at: Duration,
    /// Whole seconds.
    pub expiry: Duration,
}

/// A Lightning node as far as invoices show one: a key that signs.
pub(crate) struct Node {
    key: SecretKey,
    secp: Secp256k1<All>,
}

impl Node {
    /// The node whose key is in `folder`; makes the key when there is none. The caller holds the journal's lock, so
    /// that two processes that start at once agree on one key.
    pub fn load_or_create(folder: &Path, entropy: &dyn Entropy) -> Result<Self, SimError> {
        let path = folder.join(KEY_FILE);
        let io = |what| {
            let path = path.clone();
            move |source| SimError::Io { what, path, source }
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("{}\n", new_key(entropy).display_secret());
                // Renamed into place when whole: a process that dies here leaves no half a key behind.
                let new = folder.join(NEW_KEY_FILE);
                write_secret(&new, &text).map_err(io("writing"))?;
                std::fs::rename(&new, &path).map_err(io("writing"))?;
                text
            }
            Err(error) => return Err(io("reading")(error)),
        };
        let key = text.trim().parse().map_err(|_| SimError::Key(path))?;
        Ok(Self { key, secp: Secp256k1::new() })
    }

    /// The node's public key: what its invoices are signed by.
    pub fn id(&self) -> PublicKey {
        self.key.public_key(&self.secp)
    }

    /// A signed invoice.
    pub fn sign(&self, terms: Terms) -> Result<Bolt11Invoice, CreationError> {
        InvoiceBuilder::new(Currency::Regtest)
            .description(terms.description)
            .payment_hash(sha256::Hash::from_byte_array(*terms.payment_hash.as_bytes()))
            .payment_secret(PaymentSecret(terms.payment_secret))
            .duration_since_epoch(terms.created_at)
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_DELTA)
            .expiry_time(terms.expiry)
            .amount_milli_satoshis(terms.amount.to_msats().get())
            .basic_mpp()
            .build_signed(|message| self.secp.sign_ecdsa_recoverable(message, &self.key))
    }
}

/// Almost all 32 bytes are a key; the few that are not are drawn again.
fn new_key(entropy: &dyn Entropy) -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_slice(&entropy.bytes::<32>()) {
            return key;
        }
    }
}

/// Makes `path` hold `text`, for its owner's eyes only.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Files made with these options can be read by their owner alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
