//! Receiving other servers' notifications (`LISTEN`).

use crate::connect_error::ConnectError;
use crate::connector::{Connector, Purpose};
use crate::notify::{Decoded, STEPS, TEXT, WANTED, decode};
use crate::server_id::ServerId;
use crate::store::PostgresStore;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::store::PeerEvent;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Notification};
use tracing::{debug, warn};

/// How long after a lost connection the next is tried, and how often followers are woken meanwhile.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

impl PostgresStore {
    /// The events on other servers, until the stream is dropped.
    pub(crate) fn listen(&self) -> BoxStream<'static, PeerEvent> {
        let (sender, receiver) = mpsc::channel(256);
        let (connector, server) = (Arc::clone(&self.connector), self.server.clone());
        tokio::spawn(async move {
            let mut warned = false;
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    lost = listen_once(&connector, &server, &sender) => match lost {
                        Err(cause) if !warned => {
                            warned = true;
                            warn!(error = cause.describe(), "notification connection failed; followers poll the database every second");
                        }
                        Err(cause) => debug!(error = cause.describe(), "notification connection failed again"),
                        Ok(()) => {
                            warned = false;
                            warn!("notification connection lost");
                        }
                    }
                }
                // Notifications may have been lost meanwhile.
                if sender.send(PeerEvent::Resync).await.is_err() {
                    return;
                }
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
        });
        futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|event| (event, receiver))
        })
        .boxed()
    }
}

/// Listens until the connection is lost.
async fn listen_once(
    connector: &Connector,
    server: &ServerId,
    sender: &mpsc::Sender<PeerEvent>,
) -> Result<(), ConnectError> {
    let (notices, mut received) = mpsc::unbounded_channel::<Notification>();
    let opened = connector
        .client(move |message| {
            if let AsyncMessage::Notification(notice) = message {
                let _nobody_listens = notices.send(notice);
            }
        })
        .await?;
    let set_up =
        format!("{} LISTEN {STEPS}; LISTEN {WANTED}; LISTEN {TEXT};", connector.session(Purpose::Long));
    opened.client.batch_execute(&set_up).await?;
    // Notifications from before are lost.
    let _gone = sender.send(PeerEvent::Resync).await;
    // It ends with the connection.
    while let Some(notice) = received.recv().await {
        let event = match decode(server, notice.channel(), notice.payload()) {
            Decoded::Event(event) => event,
            Decoded::Own => continue,
            Decoded::Unreadable => PeerEvent::Resync,
        };
        if sender.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}
