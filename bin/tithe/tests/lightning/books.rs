//! What the ledger, the wallet and the nodes say of the same money.

use crate::merchant::Merchant;
use crate::shop::Shop;
use serde_json::Value;
use tithe_money::Msats;
use tithe_test_lightning::LightningNode;

/// What the merchant and the customer had before the server sold anything.
pub(crate) struct Before {
    merchant: Msats,
    customer: Msats,
}

fn number(value: &Value) -> i128 {
    let text = value.as_str().unwrap_or_else(|| panic!("expected a number in a string, got {value}"));
    text.parse().unwrap()
}

fn signed(amount: Msats) -> i128 {
    i128::from(amount.get())
}

impl Before {
    pub(crate) fn of(merchant: &Merchant, customer: &LightningNode) -> Self {
        Self { merchant: merchant.holds(), customer: customer.balance() }
    }

    /// Checks that the ledger is sound, that it and the wallet list the same payments, and that what the ledger expects in the wallet
    /// is what the merchant has gained, to the msat. Returns the audit, the merchant's gain, and the customer's loss, in msats.
    pub(crate) fn check(
        &self,
        shop: &Shop,
        merchant: &Merchant,
        customer: &LightningNode,
    ) -> (Value, i128, i128) {
        let plain = shop.run(&["audit"]);
        assert!(plain.status.success(), "{}", crate::all_of(&plain));
        let audit = shop.json(&["audit", "--wallet", "--json"]);
        let wallet = &audit["wallet"];
        assert_eq!((&audit["sound"], &wallet["sound"]), (&true.into(), &true.into()), "{audit:#}");
        assert_eq!(wallet["differences"], serde_json::json!([]), "{audit:#}");
        assert_eq!(
            (number(&wallet["shortfallMsats"]), number(&wallet["inFlightMsats"])),
            (0, 0),
            "{audit:#}"
        );
        assert!(wallet["paymentsListed"].as_u64().unwrap() > 0, "{audit:#}");

        let gain = signed(merchant.holds()) - signed(self.merchant);
        assert_eq!(number(&wallet["expectedMsats"]), gain, "{audit:#}");
        assert_eq!(-number(&audit["accountsMsats"]["wallet"]), gain, "{audit:#}");
        let loss = signed(self.customer) - signed(customer.balance());
        (audit, gain, loss)
    }
}

/// The balance of an account of the ledger, in msats.
pub(crate) fn account(audit: &Value, name: &str) -> i128 {
    number(&audit["accountsMsats"][name])
}
