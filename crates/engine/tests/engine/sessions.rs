//! Requests of sessions.

use crate::asks::plain;
use crate::scene::Scene;
use std::sync::Arc;
use tithe_engine::EngineError;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, NewWork, RenderRequest, SessionAccess};
use tithe_sessions::{SessionError, StateName};

#[derive(Debug)]
struct Plainly;

impl RenderRequest for Plainly {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        StoredResponse { status: 200, body: finished.request.state_name().to_string() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_paid_a_moment_ago_is_looked_up_at_the_wallet() {
    let scene = Scene::open().await;
    // No background task listens to the wallet.
    let server = scene.server();
    let opened = server.session_with_return("alice@example.com", 1_000).await;
    let ask = async || {
        let access = SessionAccess { session: opened.id, keys: vec![], expires_at: None, models: None };
        let new = plain("hello");
        let new = NewWork {
            access,
            id: None,
            prompt: new.prompt,
            model: None,
            max_output_tokens: None,
            client: new.client,
            replenish: None,
        };
        server.engine.sessions.request(new, None, Arc::new(Plainly)).await
    };
    let unpaid = ask().await;
    let awaiting = SessionError::NotActive(StateName::AwaitingPayment);
    assert!(matches!(&unpaid, Err(EngineError::SessionState(refused)) if *refused == awaiting), "{unpaid:?}");
    scene.pay(opened.invoice).await;
    scene.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(ask().await.unwrap().response.body, "complete");
    scene.finish().await;
}
