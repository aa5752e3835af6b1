//! What goes wrong with a call, by what kind of call it is: the columns of the tables of faults. And the calls that their rows name.

use crate::scene::{Call, CallFault, Port, Scene, Server, When};
use CallFault::{Away, Dies, Goes, Lies, Lost, Refused, Silent};
use When::{After, Before};
use std::time::Duration;

/// Which faults of a row are tried: every third one, each row beginning with another one; all of them with `TITHE_TEST_FAULTS=long` (`just test-faults`).
pub fn tried(row: usize, faults: &[CallFault]) -> impl Iterator<Item = CallFault> {
    let parts = if std::env::var("TITHE_TEST_FAULTS").is_ok_and(|which| which == "long") { 1 } else { 3 };
    faults.iter().copied().skip(row % parts).step_by(parts)
}

pub const fn database(command: &'static str) -> Call {
    Call { port: Port::Database, name: command }
}

pub const fn wallet(name: &'static str) -> Call {
    Call { port: Port::Wallet, name }
}

pub const fn backend(name: &'static str) -> Call {
    Call { port: Port::Backend, name }
}

pub const fn upstream(name: &'static str) -> Call {
    Call { port: Port::Upstream, name }
}

pub const fn address() -> Call {
    Call { port: Port::Address, name: "invoice" }
}

/// A commit is not refused for no reason, and its store bounds every wait.
pub const COMMIT: &[CallFault] = &[
    Dies(Before),
    Dies(After),
    Away,
    Refused,
    Lost { happens: true },
    Lost { happens: false },
    Goes(Before),
    Goes(After),
];

/// A question that changes nothing.
pub const LOOK: &[CallFault] =
    &[Dies(Before), Dies(After), Away, Silent { happens: false }, Goes(Before), Goes(After)];

/// The same, and the answer can be wrong: it says that nothing has happened yet.
pub const LOOK_LATE: &[CallFault] =
    &[Dies(Before), Dies(After), Away, Silent { happens: false }, Goes(Before), Goes(After), Lies];

/// A call that does something.
pub const DO: &[CallFault] = &[
    Dies(Before),
    Dies(After),
    Away,
    Refused,
    Lost { happens: true },
    Lost { happens: false },
    Silent { happens: true },
    Silent { happens: false },
    Goes(Before),
    Goes(After),
];

/// The same, and the answer can be wrong: it says that it has failed.
pub const DO_OR_LIE: &[CallFault] = &[
    Dies(Before),
    Dies(After),
    Away,
    Refused,
    Lost { happens: true },
    Lost { happens: false },
    Silent { happens: true },
    Silent { happens: false },
    Goes(Before),
    Goes(After),
    Lies,
];

/// Whether there is a connection. The port bounds the wait.
pub const CONNECT: &[CallFault] = &[Dies(Before), Dies(After), Away, Goes(Before), Goes(After)];

/// A part of an answer: the stream can break, stop, or end too early (the lie).
pub const PART: &[CallFault] = &[
    Dies(Before),
    Dies(After),
    Away,
    Refused,
    Lost { happens: true },
    Silent { happens: false },
    Goes(Before),
    Lies,
];

/// Makes the `nth` such call of a server go wrong. What is away then comes back after `outage`.
pub fn plan(scene: &Scene, server: &Server, call: Call, nth: u32, fault: CallFault, outage: Duration) {
    let (power, database) = (server.power.clone(), scene.store_faults.clone());
    power.calls.plan(call, nth, fault, database.clone());
    tokio::spawn(async move {
        power.calls.strikes().await;
        tokio::time::sleep(outage).await;
        power.calls.mend();
        database.mend();
    });
}
