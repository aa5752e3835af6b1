//! Gets invoices from Lightning addresses (LNURL-pay), whose hosts are not trusted.
