//! Random sequences of everything that can be done, against a model that fits on a page.

use crate::bench::{Bench, foreign_invoice, msats, order, request};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_lightning::{Bolt11, InvoiceStatus, Payment, Preimage, TestPayer, TestPaymentError, Wallet};
use tithe_wallet_sim::{Fault, Operation, PaymentEnd, SimOptions, SimWallet};

const FEE: u64 = 1_000;

#[derive(Debug, Clone)]
enum Step {
    Create { sats: u64 },
    Pay { invoice: usize },
    Expire { invoice: usize },
    SendOwn { invoice: usize, in_flight: bool },
    SendForeign { sats: u64, in_flight: bool },
    CreateHold { sats: u64 },
    PayHold { invoice: usize },
    SettleHold { invoice: usize },
    CancelHold { invoice: usize },
    SendAgain { payment: usize },
    Finish { payment: usize, succeed: bool },
    Wait { seconds: u64 },
    Reopen { torn: Option<String> },
    OtherServer,
}

fn step() -> impl Strategy<Value = Step> {
    let (index, in_flight) = (0_usize..8, proptest::bool::weighted(0.3));
    prop_oneof![
        4 => (1_u64..200).prop_map(|sats| Step::Create { sats }),
        5 => index.clone().prop_map(|invoice| Step::Pay { invoice }),
        1 => index.clone().prop_map(|invoice| Step::Expire { invoice }),
        2 => (index.clone(), in_flight).prop_map(|(invoice, in_flight)| Step::SendOwn { invoice, in_flight }),
        3 => (1_u64..100, in_flight).prop_map(|(sats, in_flight)| Step::SendForeign { sats, in_flight }),
        2 => (1_u64..200).prop_map(|sats| Step::CreateHold { sats }),
        3 => index.clone().prop_map(|invoice| Step::PayHold { invoice }),
        2 => index.clone().prop_map(|invoice| Step::SettleHold { invoice }),
        1 => index.clone().prop_map(|invoice| Step::CancelHold { invoice }),
        1 => index.clone().prop_map(|payment| Step::SendAgain { payment }),
        2 => (index, any::<bool>()).prop_map(|(payment, succeed)| Step::Finish { payment, succeed }),
        1 => (1_u64..400).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Wait { seconds: 7_000 }),
        2 => proptest::option::of("[ -~]{1,40}").prop_map(|torn| Step::Reopen { torn }),
        2 => Just(Step::OtherServer),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Unpaid,
    Paid,
    MadeToExpire,
}

/// Of a hold invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Unpaid,
    Held { until: Timestamp },
    Settled,
    Cancelled { was_held: bool },
}

/// The preimage of a hold invoice.
fn preimage(invoice: usize) -> Preimage {
    Preimage::from_bytes([u8::try_from(invoice).unwrap(); 32])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    InFlight,
    Succeeded,
    Failed,
}

struct SentPayment {
    id: u128,
    request: Bolt11,
    /// The index of the own invoice that it pays.
    own: Option<usize>,
    cost: u64,
    sent: Sent,
}

struct Model {
    bench: Bench,
    /// Two servers; the first is asked, until they change places.
    servers: [SimWallet; 2],
    invoices: Vec<(Bolt11, u64, Stand)>,
    holds: Vec<(Bolt11, u64, Hold)>,
    payments: Vec<SentPayment>,
    received: u64,
}

impl Model {
    fn now(&self) -> Timestamp {
        self.bench.clock.now()
    }

    fn payable(&self, invoice: usize) -> bool {
        let (bolt11, _, stand) = &self.invoices[invoice];
        *stand == Stand::Unpaid && self.now() < bolt11.expires_at()
    }

    fn sum(&self, of: Sent) -> u64 {
        self.payments.iter().filter(|payment| payment.sent == of).map(|payment| payment.cost).sum()
    }

    fn balance(&self) -> u64 {
        self.received - self.sum(Sent::Succeeded)
    }

    fn settle(&mut self, invoice: usize) {
        self.invoices[invoice].2 = Stand::Paid;
        self.received += self.invoices[invoice].1 * 1_000;
    }

    async fn send(&mut self, request: Bolt11, own: Option<usize>, in_flight: bool) {
        let id = 1_000 + u128::try_from(self.payments.len()).unwrap();
        let cost = request.amount().unwrap().get() + FEE;
        let hash_is_taken =
            self.payments.iter().any(|other| other.request == request && other.sent != Sent::Failed);
        let possible = !hash_is_taken
            && self.now() < request.expires_at()
            && own.is_none_or(|invoice| self.payable(invoice))
            && cost + self.sum(Sent::InFlight) <= self.balance();
        if in_flight {
            self.servers[0].faults().queue(Operation::PaymentSend, Fault::LeaveInFlight);
        }
        let answer = self.servers[0].payment_send(&order(id, &request)).await.unwrap();
        let sent = match (possible, in_flight) {
            (false, _) => Sent::Failed,
            (true, true) => Sent::InFlight,
            (true, false) => Sent::Succeeded,
        };
        if let (Sent::Succeeded, Some(invoice)) = (sent, own) {
            self.settle(invoice);
        }
        assert_eq!(sent_of(&answer), sent, "{answer:?}");
        self.payments.push(SentPayment { id, request, own, cost, sent });
    }

    async fn finish(&mut self, payment: usize, succeed: bool) {
        let SentPayment { id, own, sent, .. } = self.payments[payment];
        let end = if succeed { PaymentEnd::Succeed } else { PaymentEnd::Fail };
        let id = order(id, &self.payments[payment].request).id;
        let answer = self.servers[0].payment_finish(id, end).await;
        if sent != Sent::InFlight {
            assert!(answer.is_err());
            return;
        }
        let arrives = succeed && own.is_none_or(|invoice| self.payable(invoice));
        let ended = if arrives { Sent::Succeeded } else { Sent::Failed };
        if let (Sent::Succeeded, Some(invoice)) = (ended, own) {
            self.settle(invoice);
        }
        assert_eq!(sent_of(&answer.unwrap()), ended);
        self.payments[payment].sent = ended;
    }

    /// What the wallet says of a hold invoice now.
    fn hold_now(&self, invoice: usize) -> Hold {
        match &self.holds[invoice] {
            (bolt11, _, Hold::Unpaid) if self.now() >= bolt11.expires_at() => {
                Hold::Cancelled { was_held: false }
            }
            (_, _, Hold::Held { until }) if self.now() >= *until => Hold::Cancelled { was_held: true },
            (_, _, hold) => *hold,
        }
    }

    async fn pay_hold(&mut self, invoice: usize) {
        let answer = self.servers[0].pay(&self.holds[invoice].0).await;
        match (self.hold_now(invoice), answer) {
            (Hold::Unpaid, Err(TestPaymentError::Held(_))) => {
                self.holds[invoice].2 = Hold::Held { until: self.now() + SimOptions::default().hold_time };
            }
            (Hold::Held { .. }, Err(TestPaymentError::Held(_)))
            | (Hold::Cancelled { was_held: true }, Err(TestPaymentError::Returned(_)))
            | (Hold::Cancelled { was_held: false }, Err(TestPaymentError::Expired(_))) => {}
            (Hold::Settled, Ok(paid)) => assert_eq!(paid, preimage(invoice)),
            (hold, answer) => panic!("{hold:?}: {answer:?}"),
        }
    }

    async fn settle_hold(&mut self, invoice: usize) {
        let answer = self.servers[0].hold_invoice_settle(preimage(invoice)).await;
        let hold = self.hold_now(invoice);
        assert_eq!(answer.is_ok(), matches!(hold, Hold::Held { .. } | Hold::Settled));
        if let Hold::Held { .. } = hold {
            self.holds[invoice].2 = Hold::Settled;
            self.received += self.holds[invoice].1 * 1_000;
        }
    }

    async fn cancel_hold(&mut self, invoice: usize) {
        let hash = self.holds[invoice].0.payment_hash();
        let answer = self.servers[0].hold_invoice_cancel(hash).await;
        let hold = self.hold_now(invoice);
        assert_eq!(answer.is_err(), hold == Hold::Settled);
        if hold != Hold::Settled {
            let was_held = matches!(hold, Hold::Held { .. } | Hold::Cancelled { was_held: true });
            self.holds[invoice].2 = Hold::Cancelled { was_held };
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Create { sats } => {
                let id = u128::try_from(self.invoices.len()).unwrap();
                let invoice = self.servers[0].invoice_create(&request(id, sats)).await.unwrap();
                self.invoices.push((invoice, sats, Stand::Unpaid));
            }
            Step::Pay { invoice } if invoice < self.invoices.len() => {
                let answer = self.servers[0].pay(&self.invoices[invoice].0).await;
                match answer {
                    Ok(_) => {
                        assert!(self.payable(invoice));
                        self.settle(invoice);
                    }
                    Err(TestPaymentError::AlreadyPaid(_)) => {
                        assert_eq!(self.invoices[invoice].2, Stand::Paid);
                    }
                    Err(TestPaymentError::Expired(_)) => {
                        assert!(!self.payable(invoice) && self.invoices[invoice].2 != Stand::Paid);
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Expire { invoice } if invoice < self.invoices.len() => {
                let answer = self.servers[0].expire(self.invoices[invoice].0.payment_hash()).await;
                assert_eq!(answer.is_err(), self.invoices[invoice].2 == Stand::Paid);
                if self.payable(invoice) {
                    self.invoices[invoice].2 = Stand::MadeToExpire;
                }
            }
            Step::SendOwn { invoice, in_flight } if invoice < self.invoices.len() => {
                let request = self.invoices[invoice].0.clone();
                self.send(request, Some(invoice), in_flight).await;
            }
            Step::SendForeign { sats, in_flight } => {
                let id = u128::try_from(self.payments.len()).unwrap();
                let request = foreign_invoice(&self.bench, id, sats).await;
                self.send(request, None, in_flight).await;
            }
            Step::CreateHold { sats } => {
                let (index, server) = (self.holds.len(), &self.servers[0]);
                let (request, hash) = (request(0, sats), preimage(index).payment_hash());
                let invoice = server.hold_invoice_create(&request, hash).await.unwrap();
                self.holds.push((invoice, sats, Hold::Unpaid));
            }
            Step::PayHold { invoice } if invoice < self.holds.len() => self.pay_hold(invoice).await,
            Step::SettleHold { invoice } if invoice < self.holds.len() => self.settle_hold(invoice).await,
            Step::CancelHold { invoice } if invoice < self.holds.len() => self.cancel_hold(invoice).await,
            Step::SendAgain { payment } if payment < self.payments.len() => {
                let SentPayment { id, request, sent, .. } = &self.payments[payment];
                let answer = self.servers[0].payment_send(&order(*id, request)).await.unwrap();
                assert_eq!(sent_of(&answer), *sent);
            }
            Step::Finish { payment, succeed } if payment < self.payments.len() => {
                self.finish(payment, succeed).await;
            }
            Step::Wait { seconds } => self.bench.clock.advance(Duration::from_secs(seconds)),
            Step::Reopen { torn } => {
                if let Some(torn) = torn {
                    let journal = OpenOptions::new().append(true).open(self.bench.journal());
                    journal.unwrap().write_all(torn.as_bytes()).unwrap();
                }
                self.servers[0] = self.bench.open().await;
            }
            Step::OtherServer => self.servers.swap(0, 1),
            // Of something that is not there yet.
            Step::Pay { .. }
            | Step::Expire { .. }
            | Step::SendOwn { .. }
            | Step::PayHold { .. }
            | Step::SettleHold { .. }
            | Step::CancelHold { .. }
            | Step::SendAgain { .. }
            | Step::Finish { .. } => {}
        }
    }

    /// The state of what was sent for this request: after several attempts, one that succeeded or is in flight counts.
    fn counts(&self, request: &Bolt11) -> Sent {
        let attempts = self.payments.iter().filter(|payment| payment.request == *request);
        attempts.map(|payment| payment.sent).find(|sent| *sent != Sent::Failed).unwrap_or(Sent::Failed)
    }

    /// Both servers say what the model says.
    async fn compare(&self) {
        for server in &self.servers {
            assert_eq!(server.balance().await.unwrap(), msats(self.balance()));
            for (index, (invoice, ..)) in self.invoices.iter().enumerate() {
                let status = server.invoice_status(invoice.payment_hash()).await.unwrap().unwrap();
                match self.invoices[index].2 {
                    Stand::Paid => assert!(matches!(status, InvoiceStatus::Settled(_))),
                    _ if self.payable(index) => assert_eq!(status, InvoiceStatus::Pending),
                    _ => assert_eq!(status, InvoiceStatus::Expired),
                }
            }
            for (index, (invoice, ..)) in self.holds.iter().enumerate() {
                let status = server.invoice_status(invoice.payment_hash()).await.unwrap().unwrap();
                match self.hold_now(index) {
                    Hold::Unpaid => assert_eq!(status, InvoiceStatus::Pending),
                    Hold::Held { .. } => assert!(matches!(status, InvoiceStatus::Held(_))),
                    Hold::Settled => assert!(matches!(status, InvoiceStatus::Settled(_))),
                    Hold::Cancelled { .. } => assert_eq!(status, InvoiceStatus::Expired),
                }
            }
            for SentPayment { id, request, .. } in &self.payments {
                let id = order(*id, request).id;
                let status = server.payment_status(id, request.payment_hash()).await.unwrap();
                assert_eq!(sent_of(&status.unwrap()), self.counts(request));
            }
        }
    }
}

fn sent_of(payment: &Payment) -> Sent {
    match payment {
        Payment::InFlight => Sent::InFlight,
        Payment::Succeeded { .. } => Sent::Succeeded,
        Payment::Failed { .. } => Sent::Failed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_told_the_same_by_every_server_after_any_restart(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let servers = [bench.open().await, bench.open().await];
            let mut model = Model { bench, servers, invoices: vec![], holds: vec![], payments: vec![], received: 0 };
            for step in steps {
                model.take(step).await;
                model.compare().await;
            }
        });
    }
}
