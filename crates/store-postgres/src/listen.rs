//! Receiving other servers' notifications (`LISTEN`).

use crate::connector::{Connector, Purpose};
use crate::failure::redacted;
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
                            warn!(error = %redacted(&cause), "notification connection failed; followers poll the database every second");
                        }
                        Err(cause) => debug!(error = %redacted(&cause), "notification connection failed again"),
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
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = connector.client().await?;
    let (notices, mut received) = mpsc::unbounded_channel::<Notification>();
    let driving = async move {
        let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(notice)) => {
                    if notices.send(notice).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(cause) => {
                    debug!(error = %redacted(&cause), "notification connection failed");
                    return;
                }
            }
        }
    };
    let set_up =
        format!("{} LISTEN {STEPS}; LISTEN {WANTED}; LISTEN {TEXT};", connector.session(Purpose::Long));
    let receiving = async {
        client.batch_execute(&set_up).await?;
        // Notifications from before are lost.
        let _gone = sender.send(PeerEvent::Resync).await;
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
    };
    tokio::select! {
        () = driving => Ok(()),
        ended = receiving => ended,
    }
}
