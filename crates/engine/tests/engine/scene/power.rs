//! A server's power: cut at a chosen point, everything that the server does stops there, as in a crash. Given back, it
//! goes on, as a process that was only thought dead.

use super::calls::Calls;
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::watch;

/// Something that a server does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Commit,
    Claim,
    Mint,
    Evaluate,
    Work,
    Delta,
    /// A node is made.
    NodeCreate,
    /// A node is looked up.
    NodeFind,
    /// A node is destroyed.
    NodeDestroy,
    /// A Lightning address is asked for an invoice.
    Resolve,
    /// A payment is sent.
    Send,
    /// A payment is looked up.
    PaymentLook,
    /// A held payment is taken.
    HoldSettle,
    /// A held payment is given back.
    HoldCancel,
    /// What only reads, or is done over and over.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// It has not happened.
    Before,
    /// It has happened, and the server does not know.
    After,
}

pub struct Power {
    on: watch::Sender<bool>,
    stuck: watch::Sender<usize>,
    cut_at: Mutex<Option<(Op, u32, When)>>,
    counts: Mutex<HashMap<Op, u32>>,
    /// What it calls, by name.
    pub calls: Calls,
}

impl Default for Power {
    fn default() -> Self {
        Self {
            on: watch::Sender::new(true),
            stuck: watch::Sender::new(0),
            cut_at: Mutex::default(),
            counts: Mutex::default(),
            calls: Calls::default(),
        }
    }
}

impl Power {
    /// Cuts the power at the `nth` such call, counted from 1.
    pub fn cut_at(&self, op: Op, nth: u32, when: When) {
        *self.cut_at.lock().unwrap() = Some((op, nth, when));
    }

    pub fn cut(&self) {
        self.on.send_replace(false);
    }

    pub fn mend(&self) {
        *self.cut_at.lock().unwrap() = None;
        self.on.send_replace(true);
    }

    pub fn is_off(&self) -> bool {
        !*self.on.borrow()
    }

    pub async fn goes_off(&self) {
        self.on.subscribe().wait_for(|on| !on).await.unwrap();
    }

    /// Counts a call.
    pub fn count(&self, op: Op) -> u32 {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(op).or_default();
        *count += 1;
        *count
    }

    /// Goes on only while there is power.
    pub async fn pass(&self, op: Op, nth: u32, when: When) {
        if *self.cut_at.lock().unwrap() == Some((op, nth, when)) {
            self.cut();
        }
        if self.is_off() {
            self.stuck.send_modify(|stuck| *stuck += 1);
            self.on.subscribe().wait_for(|on| *on).await.unwrap();
            self.stuck.send_modify(|stuck| *stuck -= 1);
        }
    }

    /// Does a call with power at both ends.
    pub async fn through<T>(&self, op: Op, call: impl Future<Output = T>) -> T {
        let nth = self.count(op);
        self.pass(op, nth, When::Before).await;
        let answer = call.await;
        self.pass(op, nth, When::After).await;
        answer
    }
}
