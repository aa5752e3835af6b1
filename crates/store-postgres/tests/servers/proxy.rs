//! Stands between a store and its database, and cuts connections at the worst moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What becomes of the next `COMMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It goes through.
    Pass,
    /// It is carried out, and its answer is lost.
    LoseAnswer,
    /// The same, and it takes that long until the connection is found to be lost.
    LoseAnswerLate(Duration),
    /// It is lost, with everything that was sent with it.
    LoseCommit,
    /// The connection is lost, and it arrives when [`Proxy::deliver`] says so.
    DeliverLate,
}

/// A proxy to a database.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    plan: Mutex<Plan>,
    /// Whether new connections are refused.
    closed: Mutex<bool>,
    /// Whether new connections are to be refused once the plan is carried out.
    then_close: Mutex<bool>,
    deliver: Notify,
    delivered: Notify,
    refused: Notify,
}

impl Proxy {
    /// A proxy to the database of this URL.
    pub async fn to(url: &str) -> Self {
        let (before, after) = url.split_once('@').unwrap();
        let (address, database) = after.split_once('/').unwrap();
        let address = address.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::Pass),
            closed: Mutex::new(false),
            then_close: Mutex::new(false),
            deliver: Notify::new(),
            delivered: Notify::new(),
            refused: Notify::new(),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *serving.closed.lock().unwrap() {
                    serving.refused.notify_one();
                } else {
                    let server = TcpStream::connect(&address).await.unwrap();
                    tokio::spawn(carry(client, server, serving.clone()));
                }
            }
        });
        Self { url: format!("{before}@127.0.0.1:{port}/{database}?sslmode=disable"), shared }
    }

    /// Where stores find it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What becomes of the next `COMMIT`.
    pub fn plan(&self, plan: Plan) {
        *self.shared.plan.lock().unwrap() = plan;
    }

    /// The same, and from then on nobody gets through.
    pub fn plan_then_close(&self, plan: Plan) {
        *self.shared.then_close.lock().unwrap() = true;
        self.plan(plan);
    }

    /// Lets nobody through, or everybody.
    pub fn close(&self, closed: bool) {
        *self.shared.closed.lock().unwrap() = closed;
    }

    /// Returns when somebody was not let through.
    pub async fn refused(&self) {
        self.shared.refused.notified().await;
    }

    /// Delivers what is late, and returns when the database has answered it.
    pub async fn deliver(&self) {
        self.shared.deliver.notify_one();
        self.shared.delivered.notified().await;
    }
}

async fn carry(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &asked[..length];
                let plan = if sent.windows(7).any(|bytes| bytes == b"COMMIT\0") {
                    std::mem::replace(&mut *shared.plan.lock().unwrap(), Plan::Pass)
                } else {
                    Plan::Pass
                };
                if plan != Plan::Pass && *shared.then_close.lock().unwrap() {
                    *shared.closed.lock().unwrap() = true;
                }
                match plan {
                    Plan::Pass => {
                        if to_server.write_all(sent).await.is_err() {
                            return;
                        }
                    }
                    Plan::LoseCommit => return,
                    Plan::LoseAnswer => {
                        to_server.write_all(sent).await.unwrap();
                        until_idle(&mut from_server, &mut answered).await;
                        return;
                    }
                    Plan::LoseAnswerLate(late) => {
                        to_server.write_all(sent).await.unwrap();
                        until_idle(&mut from_server, &mut answered).await;
                        // This is what is tested: time passes, and nobody answers.
                        tokio::time::sleep(late).await;
                        return;
                    }
                    Plan::DeliverLate => {
                        drop((from_client, to_client));
                        shared.deliver.notified().await;
                        let _gone = to_server.write_all(sent).await;
                        until_idle(&mut from_server, &mut answered).await;
                        shared.delivered.notify_one();
                        return;
                    }
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if to_client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads until the database is ready and in no transaction ('Z', length 5, 'I'), or gone.
async fn until_idle(from_server: &mut tokio::net::tcp::OwnedReadHalf, buffer: &mut [u8]) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\0\0\0\x05I") {
        match from_server.read(buffer).await {
            Ok(length @ 1..) => seen.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
}
