//! What is owed is paid once: every outcome of the wallet, and a death at every step.

use crate::scene::{Op, Scene, Server, When};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::payouts::OperatorSettlement::{Forfeited, PaidElsewhere};
use tithe_jobs::{JobId, StateName};
use tithe_ledger::{AccountId, TransferKind};
use tithe_lightning::{Bolt11, Direction, Payment, PaymentHash, PaymentId, PaymentOrder, TestPayer, Wallet};
use tithe_money::{Msats, Sats};
use tithe_payouts::{
    AddressError, Destination, Obligation, ObligationRepository, ObligationState, PayoutError, PayoutState,
};
use tithe_wallet_sim::{Fault, Operation, PaymentEnd};
use uuid::Uuid;

/// A scene whose servers find out soon what became of a payment.
async fn hasty() -> Scene {
    let mut scene = Scene::open().await;
    scene.settings.payout_timeout = Duration::from_secs(4);
    scene.settings.payout_doubt = Duration::from_secs(10);
    // There are no jobs to claim for hours.
    scene.settings.claim_interval = Duration::from_secs(20);
    scene
}

/// A job that has failed, so that what was paid for its work is owed to the customer.
async fn owed_job(scene: &Scene, server: &Server) -> (JobId, String) {
    let (id, token) = server.create_claimable("hello").await;
    let job = scene.pay_through(id).await;
    assert_eq!(job.state.name(), StateName::Complete);
    assert!(job.refund.amount().get() > 5, "{:?}", job.refund);
    (id, token)
}

async fn owed(scene: &Scene, id: JobId) -> Obligation {
    scene.store.obligation(AccountId::Job(id.0)).await.unwrap().unwrap()
}

/// What can be paid out of an obligation.
fn payable(scene: &Scene, owed: &Obligation) -> Sats {
    scene.settings.payout_fees.quote(owed.due).unwrap().payable
}

/// An invoice of the customer's, for exactly what can be paid.
async fn invoice_for(scene: &Scene, id: JobId) -> Bolt11 {
    let amount = payable(scene, &owed(scene, id).await);
    scene.wallet.invoice(amount).await.unwrap()
}

fn to(invoice: &Bolt11) -> Destination {
    Destination::Invoice(Box::new(invoice.clone()))
}

fn address() -> Destination {
    Destination::Address("alice@example.com".parse().unwrap())
}

async fn claim(
    server: &Server,
    id: JobId,
    token: &str,
    destination: Destination,
) -> Result<ObligationState, EngineError> {
    server.engine.jobs.refund(id, None, Some(token), destination).await.map(|refund| refund.state)
}

/// Waits until the obligation is as wanted. It may take hours: it is looked at every second.
async fn until(scene: &Scene, id: JobId, wanted: impl Fn(&Obligation) -> bool) -> Obligation {
    let looking = async {
        loop {
            let owed = owed(scene, id).await;
            if wanted(&owed) {
                return owed;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_hours(24), looking).await.unwrap_or_else(|_| panic!("waited in vain"))
}

async fn until_paid(scene: &Scene, id: JobId) -> Obligation {
    until(scene, id, |owed| owed.state() == ObligationState::Paid).await
}

/// What the wallet has really sent to somebody else, by payment hash.
async fn sent(scene: &Scene) -> Vec<(PaymentHash, Msats)> {
    let wallet = scene.wallet_whose_clock_stands().await;
    let listed = wallet.payments_settled(tithe_clock::Timestamp::UNIX_EPOCH).await.unwrap();
    let outgoing = listed.into_iter().filter(|payment| payment.direction == Direction::Outgoing);
    outgoing.map(|payment| (payment.payment_hash, payment.amount)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_paid_to_an_invoice_and_every_msat_is_booked() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let before = owed(&scene, id).await;
    let invoice = invoice_for(&scene, id).await;
    assert_eq!(claim(&server, id, &token, to(&invoice)).await.unwrap(), ObligationState::Pending);
    let paid = until_paid(&scene, id).await;
    assert_eq!((paid.due, paid.accrued), (Sats::ZERO, before.accrued));
    assert_eq!(paid.last_paid, Some(invoice.payment_hash()));
    assert_eq!(sent(&scene).await, [(invoice.payment_hash(), payable(&scene, &before).to_msats())]);
    let payout = scene.store.payout(invoice.payment_hash()).await.unwrap().unwrap();
    let PayoutState::Paid { preimage, fee } = payout.state else { panic!("{payout:?}") };
    assert_eq!((preimage.payment_hash(), fee.get()), (invoice.payment_hash(), 1_000));
    // Asking again is safe, and another invoice is for nothing.
    let again =
        claim(&server, id, &token, to(&scene.wallet.invoice(Sats::new(1).unwrap()).await.unwrap())).await;
    assert!(matches!(again, Err(EngineError::Payout(PayoutError::NothingDue))), "{again:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_paid_to_an_address() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    claim(&server, id, &token, address()).await.unwrap();
    until_paid(&scene, id).await;
    let given = scene.addresses.given();
    assert_eq!(given.len(), 1);
    assert_eq!(sent(&scene).await.len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_customer_says_where_to_pay() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, _) = owed_job(&scene, &server).await;
    let (other, other_token) = owed_job(&scene, &server).await;
    for token in [None, Some("v1.nonsense"), Some(other_token.as_str())] {
        let refused = server.engine.jobs.refund(id, None, token, address()).await;
        assert!(matches!(refused, Err(EngineError::InvalidIdentity(_))), "{token:?}: {refused:?}");
    }
    let stranger = Some(crate::scene::somebody(9));
    let refused = server.engine.jobs.refund(id, stranger, None, address()).await;
    assert!(matches!(refused, Err(EngineError::InvalidIdentity(_))), "{refused:?}");
    assert_eq!((owed(&scene, id).await.destination, owed(&scene, other).await.destination), (None, None));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_unsuitable_invoice_is_refused_and_says_why() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let right = payable(&scene, &owed(&scene, id).await).get();
    for wrong in [right - 1, right + 1, owed(&scene, id).await.due.get()] {
        let invoice = scene.wallet.invoice(Sats::new(wrong).unwrap()).await.unwrap();
        let refused = claim(&server, id, &token, to(&invoice)).await.unwrap_err();
        assert!(refused.to_string().contains("wrong amount: expected"), "{refused}");
    }
    // BOLT 11's own example: on the main chain.
    let mainnet: Bolt11 = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh".parse().unwrap();
    let refused = claim(&server, id, &token, to(&mainnet)).await.unwrap_err();
    assert!(refused.to_string().contains("wrong network"), "{refused}");
    let old = invoice_for(&scene, id).await;
    scene.clock.advance(Duration::from_hours(1));
    let refused = claim(&server, id, &token, to(&old)).await.unwrap_err();
    assert!(refused.to_string().contains("expires too early"), "{refused}");
    assert_eq!(owed(&scene, id).await.destination, None);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_invoice_pays_one_obligation() {
    let scene = hasty().await;
    let server = scene.started();
    let (first, token) = owed_job(&scene, &server).await;
    let (second, second_token) = owed_job(&scene, &server).await;
    assert_eq!(owed(&scene, first).await.due, owed(&scene, second).await.due);
    let invoice = invoice_for(&scene, first).await;
    claim(&server, first, &token, to(&invoice)).await.unwrap();
    until_paid(&scene, first).await;
    let refused = claim(&server, second, &second_token, to(&invoice)).await;
    assert!(matches!(refused, Err(EngineError::Payout(PayoutError::Used(_)))), "{refused:?}");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_jobs_that_name_one_invoice_at_once_are_paid_once() {
    let scene = hasty().await;
    let server = scene.server();
    let other = scene.server_elsewhere().await;
    let mut working = scene.started();
    let (first, token) = owed_job(&scene, &working).await;
    let (second, second_token) = owed_job(&scene, &working).await;
    working.stop(Duration::ZERO).await;
    let invoice = invoice_for(&scene, first).await;
    claim(&server, first, &token, to(&invoice)).await.unwrap();
    claim(&other, second, &second_token, to(&invoice)).await.unwrap();
    let _first = scene.started();
    let mut elsewhere = scene.server_elsewhere().await;
    elsewhere.start();
    let is_settled = |owed: &Obligation| owed.state() == ObligationState::Paid || owed.destination.is_none();
    let (a, b) = (until(&scene, first, is_settled).await, until(&scene, second, is_settled).await);
    let paid = [&a, &b].iter().filter(|owed| owed.state() == ObligationState::Paid).count();
    assert_eq!((paid, sent(&scene).await.len()), (1, 1), "{a:?} {b:?}");
    let left = if a.state() == ObligationState::Paid { b } else { a };
    assert_eq!((left.due, left.in_flight), (left.accrued, None), "the other debt stays open");
    assert!(left.problem.is_some(), "and says why");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_invoice_that_the_wallet_has_paid_before_is_not_taken_for_a_payout() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let invoice = invoice_for(&scene, id).await;
    // The operator pays it by hand, with the same wallet.
    let order = PaymentOrder {
        id: PaymentId(Uuid::from_u128(77)),
        request: invoice.clone(),
        amount: None,
        max_fee: Msats::new(9_000).unwrap(),
    };
    // A wallet that knows no ids of ours says of a hash that it was paid.
    scene.wallet.payment_send(&order).await.unwrap();
    server.any_payment_is_known_by_its_hash();
    claim(&server, id, &token, to(&invoice)).await.unwrap();
    let left = until(&scene, id, |owed| owed.destination.is_none()).await;
    assert_eq!(left.state(), ObligationState::Pending, "{left:?}");
    assert_eq!(sent(&scene).await.len(), 1, "the operator's own");
    scene.finish_with_foreign_payments(&[&order]).await;
}

/// Faults of the wallet, in the order of its calls, and whether the customer is paid in the end without doing anything more.
#[tokio::test(start_paused = true)]
async fn every_outcome_of_the_wallet_pays_once_or_stays_due() {
    let slow = Fault::Delay(Duration::from_secs(5));
    let cases: &[(&str, &[(Operation, Fault)])] = &[
        ("nothing", &[]),
        ("down before it is asked", &[(Operation::PaymentStatus, Fault::Fail)]),
        ("down when it is to pay", &[(Operation::PaymentSend, Fault::Fail)]),
        ("down twice", &[(Operation::PaymentSend, Fault::Fail), (Operation::PaymentSend, Fault::Fail)]),
        ("pays, and the answer is lost", &[(Operation::PaymentSend, Fault::LoseAnswer)]),
        ("pays too late", &[(Operation::PaymentSend, slow)]),
        (
            "pays, the answer is lost, and it does not answer for a while",
            &[
                (Operation::PaymentSend, Fault::LoseAnswer),
                (Operation::PaymentStatus, Fault::Delay(Duration::ZERO)),
                (Operation::PaymentStatus, Fault::Fail),
                (Operation::PaymentStatus, Fault::LoseAnswer),
                (Operation::PaymentStatus, slow),
            ],
        ),
    ];
    for to_address in [false, true] {
        for (name, faults) in cases {
            let scene = hasty().await;
            let server = scene.started();
            let (id, token) = owed_job(&scene, &server).await;
            for (operation, fault) in *faults {
                server.wallet_faults().queue(*operation, *fault);
            }
            let destination = if to_address { address() } else { to(&invoice_for(&scene, id).await) };
            claim(&server, id, &token, destination).await.unwrap();
            until_paid(&scene, id).await;
            assert_eq!(sent(&scene).await.len(), 1, "{name}");
            scene.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_in_flight_keeps_every_other_destination_out_until_its_end() {
    for end in [PaymentEnd::Succeed, PaymentEnd::Fail] {
        let scene = hasty().await;
        let server = scene.started();
        let (id, token) = owed_job(&scene, &server).await;
        server.wallet_faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
        let invoice = invoice_for(&scene, id).await;
        claim(&server, id, &token, to(&invoice)).await.unwrap();
        let flying = until(&scene, id, |owed| owed.state() == ObligationState::Paying).await;
        assert_eq!(flying.in_flight, Some(invoice.payment_hash()));
        // Days pass, the invoice expires: it is not taken for failed.
        scene.clock.advance(Duration::from_hours(48));
        tokio::time::sleep(Duration::from_mins(5)).await;
        let another = invoice_for(&scene, id).await;
        let refused = claim(&server, id, &token, to(&another)).await;
        assert!(matches!(refused, Err(EngineError::Payout(PayoutError::InFlight(_)))), "{refused:?}");
        assert!(claim(&server, id, &token, to(&invoice)).await.is_ok(), "the same one again is safe");
        let payout = scene.store.payout(invoice.payment_hash()).await.unwrap().unwrap();
        scene.wallet.payment_finish(payout.id, end).await.unwrap();
        if end == PaymentEnd::Succeed {
            until_paid(&scene, id).await;
        } else {
            until(&scene, id, |owed| owed.in_flight.is_none()).await;
            claim(&server, id, &token, to(&another)).await.unwrap();
            until_paid(&scene, id).await;
        }
        assert_eq!(sent(&scene).await.len(), 1, "{end:?}");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fee_above_the_limit_pays_nothing_and_the_debt_stays() {
    let mut scene = Scene::open_with_routing_fee(50).await;
    scene.settings.payout_doubt = Duration::from_secs(30);
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    claim(&server, id, &token, to(&invoice_for(&scene, id).await)).await.unwrap();
    let left = until(&scene, id, |owed| owed.failures >= 2).await;
    assert_eq!((left.due, left.in_flight), (left.accrued, None));
    // The invoice is tried a few times; then the customer is asked for another one.
    let left = until(&scene, id, |owed| owed.destination.is_none()).await;
    assert!(left.problem.is_some());
    assert_eq!(sent(&scene).await, []);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_work_is_tried_again_and_one_that_never_will_is_forgotten() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let away = || AddressError::Unavailable { reason: "no answer".to_owned() };
    let wrong = scene.wallet.invoice(Sats::new(1).unwrap()).await.unwrap();
    for answer in [Err(away()), Ok(wrong), Err(away())] {
        scene.addresses.answer(answer);
    }
    claim(&server, id, &token, address()).await.unwrap();
    until_paid(&scene, id).await;
    assert_eq!(sent(&scene).await.len(), 1);

    let (id, token) = owed_job(&scene, &server).await;
    scene.addresses.answer(Err(AddressError::Refused { reason: "there is no alice".to_owned() }));
    claim(&server, id, &token, address()).await.unwrap();
    let left = until(&scene, id, |owed| owed.destination.is_none()).await;
    assert!(left.problem.unwrap().contains("there is no alice"));
    claim(&server, id, &token, to(&invoice_for(&scene, id).await)).await.unwrap();
    until_paid(&scene, id).await;
    scene.finish().await;
}

/// Where a server can die. The steps of a payout to an address: the claim is committed, the address is resolved, the wallet is asked
/// whether it has paid that invoice, the intent is committed, the payment is sent, the outcome is committed.
const STEPS: [(Op, u32); 6] = [
    (Op::Commit, 1),
    (Op::Resolve, 1),
    (Op::PaymentLook, 1),
    (Op::Commit, 2),
    (Op::Send, 1),
    (Op::Commit, 3),
];

/// The server dies at one step, and another one (or the same, which was only thought dead) goes on.
async fn dies_at(step: (Op, u32), when: When, fault: Option<Fault>, comes_back: bool) {
    let context = format!("{when:?} {step:?}, {fault:?}, comes back: {comes_back}");
    let scene = hasty().await;
    let mut working = scene.started();
    let (id, token) = owed_job(&scene, &working).await;
    working.stop(Duration::from_mins(1)).await;
    let mut first = scene.server_elsewhere().await;
    if let Some(fault) = fault {
        first.wallet_faults().queue(Operation::PaymentSend, fault);
    }
    first.power.cut_at(step.0, step.1, when);
    first.start();
    let first = Arc::new(first);
    let claiming = {
        let (first, token) = (first.clone(), token.clone());
        tokio::spawn(async move { claim(&first, id, &token, address()).await })
    };
    tokio::time::timeout(Duration::from_mins(10), first.power.goes_off())
        .await
        .unwrap_or_else(|_| panic!("never came to {context}"));
    let second = scene.started();
    // The customer, who has got no answer, asks again.
    let asked = claim(&second, id, &token, address()).await;
    assert!(
        matches!(asked, Ok(_) | Err(EngineError::Payout(PayoutError::NothingDue | PayoutError::InFlight(_)))),
        "{context}: {asked:?}"
    );
    if comes_back {
        tokio::time::sleep(Duration::from_secs(7)).await;
        first.power.mend();
    }
    until_paid(&scene, id).await;
    if !comes_back {
        first.power.mend();
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    let _answered = claiming.await.unwrap();
    let paid = sent(&scene).await;
    assert_eq!(paid.len(), 1, "{context}: paid exactly once");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_step_of_a_payout_pays_exactly_once() {
    for step in STEPS {
        for when in [When::Before, When::After] {
            for fault in [None, Some(Fault::LoseAnswer), Some(Fault::Fail)] {
                for comes_back in [false, true] {
                    dies_at(step, when, fault, comes_back).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_servers_pay_many_refunds_once_each() {
    let scene = hasty().await;
    let mut seller = scene.started();
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(owed_job(&scene, &seller).await);
    }
    seller.stop(Duration::from_mins(1)).await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        let mut server = scene.server_elsewhere_rough("lose=150,fail=150,delay_ms=40").await;
        server.start();
        servers.push(server);
    }
    for (n, (id, token)) in jobs.iter().enumerate() {
        let destination = if n % 2 == 0 { address() } else { to(&invoice_for(&scene, *id).await) };
        claim(&servers[(n + 1) % 3], *id, token, destination).await.unwrap();
    }
    for (id, _) in &jobs {
        until_paid(&scene, *id).await;
    }
    assert_eq!(sent(&scene).await.len(), jobs.len());
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_operator_settles_what_the_wallet_knows_nothing_of() {
    let scene = hasty().await;
    let mut server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let account = AccountId::Job(id.0);
    let due = owed(&scene, id).await.due;
    let half = Sats::new(due.get() / 2).unwrap();
    let rest = Sats::new(due.get() - half.get()).unwrap();
    server.engine.payouts.settle(account, half, PaidElsewhere).await.unwrap();
    assert!(server.engine.payouts.settle(account, due, Forfeited).await.is_err(), "more than is due");
    let left = server.engine.payouts.settle(account, rest, Forfeited).await.unwrap();
    assert_eq!((left.due, left.state()), (Sats::ZERO, ObligationState::Paid));
    let refused = claim(&server, id, &token, address()).await;
    assert!(matches!(refused, Err(EngineError::Payout(PayoutError::NothingDue))), "{refused:?}");
    server.stop(Duration::ZERO).await;
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_refunded_to_the_address_that_was_named_in_advance() {
    let scene = hasty().await;
    let server = scene.started();
    let session = server.session_with_return("bob@example.com", 500).await;
    scene.pay(session.invoice).await;
    server.session_active(session.id).await;
    let (_, refund) = server.engine.sessions.close(session.id, None).await.unwrap();
    assert_eq!(refund.accrued, Sats::new(500).unwrap());
    let account = AccountId::Session(session.id.0);
    let looking = async {
        while scene.store.obligation(account).await.unwrap().unwrap().state() != ObligationState::Paid {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_hours(1), looking).await.unwrap();
    assert_eq!(scene.addresses.given().len(), 1);
    assert_eq!(sent(&scene).await.len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_wallet_keeps_for_liquidity_is_the_operators_cost() {
    let scene = Scene::open_with_liquidity_fee(3).await;
    let server = scene.started();
    let id = server.create("hello").await;
    let job = scene.pay_through(id).await;
    let moved = scene.moved(id).await;
    assert_eq!(moved.paid, moved.charged + moved.owed + moved.rounding, "{job:?}");
    let kept: u64 = scene
        .transfers()
        .await
        .iter()
        .filter(|transfer| transfer.kind == TransferKind::LiquidityFee)
        .map(|transfer| transfer.amount.get())
        .sum();
    // Of the evaluation's payment, which is smaller, it keeps all.
    assert_eq!(kept, job.evaluation_fee().to_msats().get().min(3_000) + 3_000);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_wallet_is_compared_with_the_ledger_payment_by_payment() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    claim(&server, id, &token, address()).await.unwrap();
    until_paid(&scene, id).await;
    let report = server.engine.reconciliation.report().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.balances.shortfall, report.balances.surplus), (0, 0));
    assert_eq!(report.differences, []);
    // A wallet that does not answer is unknown, not empty.
    server.wallet_faults().queue(Operation::Balance, Fault::Fail);
    let balances = server.engine.reconciliation.check().await.unwrap();
    assert_eq!((balances.held, balances.shortfall), (None, 0));
    let solvency = server.engine.reconciliation.solvency().await.unwrap();
    assert_eq!(solvency.held, None);
    // The operator spends customers' money.
    let stolen = scene.wallet.invoice(Sats::new(3).unwrap()).await.unwrap();
    let order = PaymentOrder {
        id: PaymentId(Uuid::from_u128(5)),
        request: stolen.clone(),
        amount: None,
        max_fee: Msats::new(9_000).unwrap(),
    };
    assert!(matches!(scene.wallet.payment_send(&order).await.unwrap(), Payment::Succeeded { .. }));
    let report = server.engine.reconciliation.report().await.unwrap();
    assert_eq!(report.balances.shortfall, 4_000);
    assert!(!report.is_sound());
    let named: Vec<_> = report.differences.iter().map(|it| it.payment_hash).collect();
    assert_eq!(named, [stolen.payment_hash()]);
    scene.finish_with_foreign_payments(&[&order]).await;
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_the_wallet_called_failed_and_made_all_the_same_is_not_made_again() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let invoice = invoice_for(&scene, id).await;
    server.next_payment_is_called_failed();
    claim(&server, id, &token, to(&invoice)).await.unwrap();
    until(&scene, id, |owed| owed.failures == 1).await;
    // The customer, who has been paid, names another invoice.
    let another = invoice_for(&scene, id).await;
    server.any_payment_is_known_by_its_hash();
    let _named = claim(&server, id, &token, to(&another)).await;
    let paid = until_paid(&scene, id).await;
    assert_eq!(paid.last_paid, Some(invoice.payment_hash()));
    assert_eq!(sent(&scene).await.len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_invoice_that_expires_before_it_can_be_paid_leaves_the_debt_and_says_why() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    for _ in 0..3 {
        server.wallet_faults().queue(Operation::PaymentStatus, Fault::Fail);
    }
    claim(&server, id, &token, to(&invoice_for(&scene, id).await)).await.unwrap();
    until(&scene, id, |owed| owed.problem.is_some()).await;
    scene.clock.advance(Duration::from_hours(2));
    let left = until(&scene, id, |owed| owed.destination.is_none()).await;
    assert_eq!((left.due, left.in_flight, left.failures), (left.accrued, None, left.failures.min(1)));
    assert!(left.problem.is_some());
    assert_eq!(sent(&scene).await, []);
    claim(&server, id, &token, to(&invoice_for(&scene, id).await)).await.unwrap();
    until_paid(&scene, id).await;
    assert_eq!(sent(&scene).await.len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_invoice_without_a_route_leaves_the_debt_until_another_one_is_named() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    // A node that this wallet cannot reach has made it.
    let unreachable = scene.unreachable_invoice(payable(&scene, &owed(&scene, id).await));
    claim(&server, id, &token, to(&unreachable)).await.unwrap();
    let left = until(&scene, id, |owed| owed.failures >= 2).await;
    assert_eq!((left.due, left.in_flight), (left.accrued, None));
    claim(&server, id, &token, to(&invoice_for(&scene, id).await)).await.unwrap();
    until_paid(&scene, id).await;
    assert_eq!(sent(&scene).await.len(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_paid_twice_because_the_wallet_was_wrong_is_booked_as_the_operators_loss() {
    let scene = hasty().await;
    let server = scene.started();
    let (id, token) = owed_job(&scene, &server).await;
    let account = AccountId::Job(id.0);
    let invoice = invoice_for(&scene, id).await;
    server.next_payment_is_called_failed();
    claim(&server, id, &token, to(&invoice)).await.unwrap();
    let left = until(&scene, id, |owed| owed.failures == 1).await;
    // The operator, who believes the wallet, pays the customer by other means.
    server.engine.payouts.settle(account, left.due, PaidElsewhere).await.unwrap();
    let payout = server.engine.payouts.end(invoice.payment_hash(), None).await.unwrap();
    assert!(matches!(payout.state, PayoutState::Paid { .. }), "the wallet's own word counts: {payout:?}");
    let overpaid = scene.transfers().await.into_iter();
    let overpaid: Vec<_> = overpaid.filter(|it| it.kind == TransferKind::RefundOverpaid).collect();
    let [overpaid] = &overpaid[..] else { panic!("{overpaid:?}") };
    assert_eq!((overpaid.debit, overpaid.amount), (AccountId::Operator, left.due.to_msats()));
    assert_eq!(owed(&scene, id).await.state(), ObligationState::Paid);
    scene.finish().await;
}
