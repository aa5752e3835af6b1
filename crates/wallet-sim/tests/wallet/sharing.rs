use crate::bench::{Bench, fund, msats, order, request, settlement};
use futures_util::future::join_all;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use tithe_clock::SeededEntropy;
use tithe_lightning::{Bolt11, Payment, TestPayer, TestPaymentError, Wallet, WalletError};
use tithe_wallet_sim::{SimError, SimWallet};

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let node = wallet.node_id();
    let paid = wallet.invoice_create(&request(1, 100)).await.unwrap();
    let unpaid = wallet.invoice_create(&request(2, 21)).await.unwrap();
    let made_to_expire = wallet.invoice_create(&request(3, 21)).await.unwrap();
    wallet.pay(&paid).await.unwrap();
    wallet.expire(made_to_expire.payment_hash()).await.unwrap();
    let sent = order(1, &crate::bench::foreign_invoice(&bench, 1, 20).await);
    let payment = wallet.payment_send(&sent).await.unwrap();
    let settled = settlement(&wallet, &paid).await;
    let hashes = [&paid, &unpaid, &made_to_expire].map(Bolt11::payment_hash);
    let mut before = Vec::new();
    for hash in hashes {
        before.push(wallet.invoice_status(hash).await.unwrap());
    }
    drop(wallet);

    let wallet = bench.open().await;
    assert_eq!(wallet.node_id(), node);
    for (hash, before) in hashes.into_iter().zip(before) {
        assert_eq!(wallet.invoice_status(hash).await.unwrap(), before);
    }
    assert_eq!(settlement(&wallet, &paid).await, settled);
    assert_eq!(wallet.invoice_create(&request(2, 21)).await.unwrap(), unpaid);
    assert_eq!(wallet.payment_send(&sent).await.unwrap(), payment);
    assert_eq!(wallet.balance().await.unwrap(), msats(79_000));
    assert!(matches!(wallet.pay(&paid).await, Err(TestPaymentError::AlreadyPaid(_))));
}

#[tokio::test]
async fn random_bytes_that_repeat_after_a_restart_make_no_invoice_twice() {
    let bench = Bench::new();
    let mut hashes = Vec::new();
    for id in 1..=3 {
        let entropy = Arc::new(SeededEntropy::new(7));
        let wallet = SimWallet::open(bench.folder.path(), bench.clock.clone(), entropy).await.unwrap();
        hashes.push(wallet.invoice_create(&request(id, 1)).await.unwrap().payment_hash());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 3);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_folder_s_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let _wallet = bench.open().await;
    for file in ["node.key", "journal.jsonl"] {
        let mode = std::fs::metadata(bench.folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_torn_last_line_never_happened() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    wallet.pay(&invoice).await.unwrap();
    let whole = std::fs::read(bench.journal()).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;

    // The payment's line, cut anywhere, even just before its newline.
    for torn in [last_line + 1, last_line + 20, whole.len() - 1] {
        std::fs::write(bench.journal(), &whole[..torn]).unwrap();
        let reader = bench.open().await;
        assert_eq!(reader.balance().await.unwrap(), msats(0));
        assert_eq!(std::fs::read(bench.journal()).unwrap(), whole[..torn], "a reader changed the journal");

        let writer = bench.open().await;
        writer.pay(&invoice).await.unwrap();
        assert_eq!(bench.journal_lines(), 2);
        // Who was there before sees it too.
        assert_eq!(reader.balance().await.unwrap(), msats(21_000));
    }
}

#[tokio::test]
async fn a_damaged_line_is_named_and_nothing_after_it_is_believed() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    wallet.pay(&invoice).await.unwrap();
    wallet.invoice_create(&request(2, 21)).await.unwrap();
    let text = std::fs::read_to_string(bench.journal()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    drop(wallet);

    let other_hash = lines[0].replace(&invoice.payment_hash().to_string(), &"0".repeat(64));
    let cases = [
        (vec![lines[0], "{\"kind\":", lines[2]], 2, "not a journal record"),
        (vec![lines[0], "", lines[2]], 2, "not a journal record"),
        (vec![lines[0], lines[1], lines[1]], 3, "the invoice was paid or made to expire before"),
        (vec![lines[0], lines[0]], 2, "an earlier invoice has that payment hash"),
        (vec![lines[1]], 1, "no invoice has that payment hash"),
        (vec![other_hash.as_str()], 1, "the preimage does not belong to the payment hash"),
    ];
    for (damaged, at, why) in cases {
        std::fs::write(bench.journal(), damaged.join("\n") + "\n").unwrap();
        let error = bench.try_open().await.unwrap_err();
        assert_eq!(error.to_string(), format!("damaged journal: line {at} is invalid"));
        let SimError::Line { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), why);
    }
}

#[tokio::test]
async fn damage_that_comes_while_the_wallet_is_open_stops_it_without_harm() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let whole = std::fs::read(bench.journal()).unwrap();
    OpenOptions::new().append(true).open(bench.journal()).unwrap().write_all(b"rubbish\n").unwrap();
    for answer in [wallet.balance().await.map(drop), wallet.invoice_create(&request(2, 21)).await.map(drop)] {
        let Err(WalletError::Unavailable(Some(source))) = answer else { panic!("{answer:?}") };
        assert_eq!(source.to_string(), "damaged journal: line 2 is invalid");
    }
    // Repaired, it goes on; cut shorter than what was read, it does not.
    std::fs::write(bench.journal(), &whole).unwrap();
    wallet.pay(&invoice).await.unwrap();
    std::fs::write(bench.journal(), &whole).unwrap();
    let Err(WalletError::Unavailable(Some(source))) = wallet.balance().await else { panic!() };
    assert_eq!(source.to_string(), "damaged journal: truncated by another program");
}

#[tokio::test]
async fn a_file_that_is_no_key_is_not_replaced() {
    let bench = Bench::new();
    let key = bench.folder.path().join("node.key");
    std::fs::write(&key, "not a key").unwrap();
    assert!(matches!(bench.try_open().await, Err(SimError::Key(_))));
    assert_eq!(std::fs::read_to_string(key).unwrap(), "not a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_wallets_on_one_folder_are_one_wallet() {
    let bench = Bench::new();
    let (one, two) = tokio::join!(bench.open(), bench.open());
    assert_eq!(one.node_id(), two.node_id());
    let invoice = one.invoice_create(&request(1, 21)).await.unwrap();
    assert_eq!(two.invoice_create(&request(1, 21)).await.unwrap(), invoice);
    two.pay(&invoice).await.unwrap();
    assert_eq!(settlement(&one, &invoice).await, settlement(&two, &invoice).await);
    assert_eq!(one.balance().await.unwrap(), msats(21_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_payers_at_two_servers_exactly_one_pays() {
    let bench = Bench::new();
    let wallets = [Arc::new(bench.open().await), Arc::new(bench.open().await)];
    for id in 1..=4 {
        let invoice = wallets[0].invoice_create(&request(id, 10)).await.unwrap();
        let payers = (0..64).map(|n| {
            let (wallet, invoice) = (Arc::clone(&wallets[n % 2]), invoice.clone());
            tokio::spawn(async move { wallet.pay(&invoice).await })
        });
        let answers: Vec<_> = join_all(payers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let already = |answer: &&_| matches!(answer, Err(TestPaymentError::AlreadyPaid(_)));
        assert_eq!(answers.iter().filter(already).count(), 63);
    }
    assert_eq!(bench.journal_lines(), 8);
    assert_eq!(wallets[0].balance().await.unwrap(), msats(40_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_at_two_servers_never_spend_more_than_there_is() {
    let bench = Bench::new();
    let wallets = [Arc::new(bench.open().await), Arc::new(bench.open().await)];
    fund(&wallets[0], 100).await;
    // Ten sats each and one for routing: nine fit.
    let mut orders = Vec::new();
    for id in 1..=32 {
        orders.push(order(id, &crate::bench::foreign_invoice(&bench, id, 10).await));
    }
    // Each order at both servers: the same id must not pay twice.
    let sends = orders.iter().flat_map(|order| wallets.iter().map(move |wallet| (wallet, order))).map(
        |(wallet, order)| {
            let (wallet, order) = (Arc::clone(wallet), order.clone());
            tokio::spawn(async move { (order.id.0, wallet.payment_send(&order).await.unwrap()) })
        },
    );
    let answers: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    for pair in answers.chunks(2) {
        assert_eq!(pair[0], pair[1], "two servers told two outcomes of one payment");
    }
    let made = answers.iter().filter(|(_, payment)| matches!(payment, Payment::Succeeded { .. })).count();
    assert_eq!(made, 2 * 9);
    assert_eq!(wallets[1].balance().await.unwrap(), msats(1_000));
}
