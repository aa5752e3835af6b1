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

/// The blocks that the last hop must leave to claim the payment, as usual for common nodes.
const MIN_FINAL_CLTV_DELTA: u64 = 80;
const KEY_FILE: &str = "node.key";
const NEW_KEY_FILE: &str = "node.key.new";

/// The content of an invoice.
pub(crate) struct Terms {
    pub payment_hash: PaymentHash,
    pub payment_secret: [u8; 32],
    /// Zero: the payer chooses.
    pub amount: Sats,
    pub description: String,
    /// Whole seconds since 1970.
    pub created_at: Duration,
    /// Whole seconds.
    pub expiry: Duration,
}

/// A Lightning node, reduced to the key that signs its invoices.
pub(crate) struct Node {
    key: SecretKey,
    secp: Secp256k1<All>,
}

impl Node {
    /// Loads the node key in `folder`, or creates one if there is none. The caller holds the journal's lock, so that
    /// two processes starting at the same time agree on one key.
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
                // Renamed into place once complete: a crash here leaves no partial key behind.
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

    /// The node's public key, which verifies its invoices.
    pub fn id(&self) -> PublicKey {
        self.key.public_key(&self.secp)
    }

    /// Creates a signed invoice.
    pub fn sign(&self, terms: Terms) -> Result<Bolt11Invoice, CreationError> {
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description(terms.description)
            .payment_hash(sha256::Hash::from_byte_array(*terms.payment_hash.as_bytes()))
            .payment_secret(PaymentSecret(terms.payment_secret))
            .duration_since_epoch(terms.created_at)
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_DELTA)
            .expiry_time(terms.expiry)
            .basic_mpp();
        let invoice = match terms.amount.to_msats().get() {
            0 => invoice,
            msats => invoice.amount_milli_satoshis(msats),
        };
        invoice.build_signed(|message| self.secp.sign_ecdsa_recoverable(message, &self.key))
    }
}

/// Almost every 32 bytes are a valid key; the few exceptions are drawn again.
fn new_key(entropy: &dyn Entropy) -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_slice(&entropy.bytes::<32>()) {
            return key;
        }
    }
}

/// Writes `text` to `path`, readable by its owner only.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// File options that make a file readable by its owner only.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
