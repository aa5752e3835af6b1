//! The ledger's transfers beside the wallet's list of payments, payment by payment.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tithe_clock::Timestamp;
use tithe_ledger::{Transfer, TransferKind};
use tithe_lightning::{Direction, PaymentHash, WalletPayment};
use tithe_money::Msats;

/// How the descriptions of all our invoices begin.
const INVOICE_DESCRIPTION_PREFIX: &str = "Tithe: ";

/// How the ledger and the wallet differ on one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The wallet has received a payment of one of our invoices that is not credited.
    NotCredited,
    /// The ledger has credited a payment that the wallet does not list.
    NotReceived,
    /// The wallet has made one of our payouts, which is not booked.
    NotBooked,
    /// The ledger has booked a payout that the wallet does not list.
    NotSent,
    /// Both know the payment, with different amounts.
    Amount,
    /// A payment is to be held for a request, or to be taken for its answer, and the wallet neither holds it nor has received it.
    NotHeld,
    /// The wallet has received a payment for an invoice that the database does not know, and whose description is one that Tithe
    /// writes: most likely it was made after the moment to which the database was restored.
    ForgottenInvoice,
    /// The wallet has received a payment that is none of ours: the operator's own.
    ForeignReceived,
    /// The wallet has sent a payment that is none of ours: the operator's own.
    ForeignSent,
}

impl DifferenceKind {
    /// Whether the difference is an error. Payments that are none of ours are not; and those of invoices that were lost with a part of
    /// the database cannot be credited to anybody any more.
    #[must_use]
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::ForgottenInvoice | Self::ForeignReceived | Self::ForeignSent)
    }
}

/// A payment on which the ledger and the wallet differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How they differ.
    pub kind: DifferenceKind,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// What the ledger says: the amount and the fee.
    pub ledger: Option<(Msats, Msats)>,
    /// What the wallet says: the amount and the fee.
    pub wallet: Option<(Msats, Msats)>,
    /// When the wallet has settled it.
    pub settled_at: Option<Timestamp>,
    /// The description of the invoice, if it was received and the wallet reports one.
    pub description: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DifferenceKind::NotCredited => "received by the wallet, but not credited",
            DifferenceKind::NotReceived => "credited, but not in the wallet's list",
            DifferenceKind::NotBooked => "sent by the wallet, but not booked",
            DifferenceKind::NotSent => "booked as sent, but not in the wallet's list",
            DifferenceKind::Amount => "the amounts differ",
            DifferenceKind::NotHeld => "to be held for a request, but not held by the wallet",
            DifferenceKind::ForgottenInvoice => {
                "received by the wallet for an invoice of tithe that the database does not know"
            }
            DifferenceKind::ForeignReceived => "received by the wallet for none of our invoices",
            DifferenceKind::ForeignSent => "sent by the wallet for none of our payouts",
        };
        write!(f, "payment {}: {what}", self.payment_hash)?;
        let side = |f: &mut fmt::Formatter<'_>, name, side: Option<(Msats, Msats)>| match side {
            Some((amount, fee)) => write!(f, "; {name}: {} msat, fee {} msat", amount.get(), fee.get()),
            None => Ok(()),
        };
        side(f, "ledger", self.ledger)?;
        side(f, "wallet", self.wallet)?;
        if let Some(at) = self.settled_at {
            write!(f, "; settled at {at}")?;
        }
        match &self.description {
            Some(description) => write!(f, "; described as {description:?}"),
            None => Ok(()),
        }
    }
}

/// What is ours, among the payments that the ledger has no transfer of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// One of our invoices.
    Invoice,
    /// A payout that is in flight: its outcome is not known yet.
    PayoutInFlight,
    /// A payout that has failed, or is unknown to the ledger though ours.
    Payout,
}

type Sides = BTreeMap<(Direction, PaymentHash), (Msats, Msats)>;

/// What the ledger has booked, by payment.
pub(super) fn booked(transfers: &[Transfer]) -> Sides {
    let mut sides = Sides::new();
    for transfer in transfers {
        let Some((prefix, rest)) = transfer.key.as_str().split_once(':') else { continue };
        let direction = match prefix {
            "payment" => Direction::Incoming,
            "payout" => Direction::Outgoing,
            _ => continue,
        };
        let Ok(hash) = rest.split(':').next().unwrap_or_default().parse::<PaymentHash>() else { continue };
        let (amount, fee) = sides.entry((direction, hash)).or_insert((Msats::ZERO, Msats::ZERO));
        match transfer.kind {
            TransferKind::RoutingFee | TransferKind::LiquidityFee => *fee = transfer.amount,
            _ => *amount = transfer.amount,
        }
    }
    sides
}

/// Compares the two sides. `known` says what is ours among the payments that only the wallet lists; payouts in flight are no
/// difference.
pub(super) fn compare(
    ledger: &Sides,
    listed: &[WalletPayment],
    known: &HashMap<(Direction, PaymentHash), Known>,
) -> Vec<Difference> {
    let mut wallet = BTreeMap::new();
    for payment in listed {
        wallet.insert((payment.direction, payment.payment_hash), payment);
    }
    let mut differences = Vec::new();
    for (key @ (direction, payment_hash), payment) in &wallet {
        let says = (payment.amount, payment.fee);
        let kind = match (ledger.get(key), known.get(key)) {
            (Some(books), _) if *books == says => continue,
            (Some(_), _) => DifferenceKind::Amount,
            (None, Some(Known::PayoutInFlight)) => continue,
            (None, Some(Known::Invoice)) => DifferenceKind::NotCredited,
            (None, Some(Known::Payout)) => DifferenceKind::NotBooked,
            (None, None) => match direction {
                Direction::Incoming if is_described_by_us(payment) => DifferenceKind::ForgottenInvoice,
                Direction::Incoming => DifferenceKind::ForeignReceived,
                Direction::Outgoing => DifferenceKind::ForeignSent,
            },
        };
        differences.push(Difference {
            kind,
            payment_hash: *payment_hash,
            ledger: ledger.get(key).copied(),
            wallet: Some(says),
            settled_at: Some(payment.settled_at),
            description: payment.description.clone(),
        });
    }
    for (key @ (direction, payment_hash), says) in ledger {
        if !wallet.contains_key(key) {
            let kind = match direction {
                Direction::Incoming => DifferenceKind::NotReceived,
                Direction::Outgoing => DifferenceKind::NotSent,
            };
            differences.push(Difference {
                kind,
                payment_hash: *payment_hash,
                ledger: Some(*says),
                wallet: None,
                settled_at: None,
                description: None,
            });
        }
    }
    differences
}

/// Whether the description is one that this program writes. Other programs could write it, too: it is the best that a wallet can say
/// about an invoice that the database does not know.
fn is_described_by_us(payment: &WalletPayment) -> bool {
    payment
        .description
        .as_deref()
        .is_some_and(|description| description.starts_with(INVOICE_DESCRIPTION_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_ledger::{AccountId, TransferKey};
    use uuid::Uuid;

    fn hash(n: u8) -> PaymentHash {
        PaymentHash::from_bytes([n; 32])
    }

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn transfer(key: String, kind: TransferKind, amount: u64) -> Transfer {
        Transfer {
            key: TransferKey::new(key),
            debit: AccountId::Wallet,
            credit: AccountId::Revenue,
            amount: msats(amount),
            kind,
            reference: Uuid::nil(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn payment(direction: Direction, n: u8, amount: u64, fee: u64) -> WalletPayment {
        let settled_at = Timestamp::UNIX_EPOCH;
        let (payment_hash, amount, fee) = (hash(n), msats(amount), msats(fee));
        WalletPayment { direction, payment_hash, amount, fee, settled_at, description: None }
    }

    #[test]
    fn every_payment_that_does_not_match_is_named() {
        let ledger = booked(&[
            transfer(format!("payment:{}", hash(1)), TransferKind::Deposit, 1_000),
            transfer(format!("payment:{}:liquidity_fee", hash(1)), TransferKind::LiquidityFee, 10),
            transfer(format!("payment:{}", hash(2)), TransferKind::JobPayment, 2_000),
            transfer(format!("payout:{}", hash(3)), TransferKind::RefundPaid, 3_000),
            transfer(format!("payout:{}:routing_fee", hash(3)), TransferKind::RoutingFee, 5),
            transfer(format!("payout:{}", hash(4)), TransferKind::RefundPaid, 4_000),
        ]);
        let (incoming, outgoing) = (Direction::Incoming, Direction::Outgoing);
        let listed = [
            payment(incoming, 1, 1_000, 10),
            payment(outgoing, 3, 3_000, 7),
            payment(incoming, 5, 5_000, 0),
            payment(incoming, 6, 6_000, 0),
            WalletPayment {
                description: Some("Tithe: a node".to_owned()),
                ..payment(incoming, 10, 10_000, 0)
            },
            payment(outgoing, 7, 7_000, 1),
            payment(outgoing, 8, 8_000, 1),
            payment(outgoing, 9, 9_000, 1),
            // The wallet has paid its own invoice: two payments with one hash.
            payment(outgoing, 1, 1_000, 0),
        ];
        let known = HashMap::from([
            ((incoming, hash(5)), Known::Invoice),
            ((outgoing, hash(7)), Known::PayoutInFlight),
            ((outgoing, hash(8)), Known::Payout),
        ]);
        let found = compare(&ledger, &listed, &known);
        let found: Vec<_> = found.iter().map(|it| (it.payment_hash, it.kind)).collect();
        assert_eq!(found.len(), 9, "{found:?}");
        for expected in [
            (hash(5), DifferenceKind::NotCredited),
            (hash(6), DifferenceKind::ForeignReceived),
            (hash(10), DifferenceKind::ForgottenInvoice),
            (hash(3), DifferenceKind::Amount),
            (hash(8), DifferenceKind::NotBooked),
            (hash(9), DifferenceKind::ForeignSent),
            (hash(1), DifferenceKind::ForeignSent),
            (hash(2), DifferenceKind::NotReceived),
            (hash(4), DifferenceKind::NotSent),
        ] {
            assert!(found.contains(&expected), "{expected:?} in {found:?}");
        }
    }
}
