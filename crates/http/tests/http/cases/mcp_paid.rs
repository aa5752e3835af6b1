//! Calls of MCP that are paid for: challenge, payment, credential, answer.

use crate::app::{
    CREDENTIAL, Ends, Metered, Options, PaidCall, Script, TestApp, call_failed, called, challenged, hash_of,
    install, tool_call, with_credential,
};
use serde_json::{Value, json};
use tithe_engine::Settings;
use tithe_ledger::credits::{Counted, Plans, Quota};

fn arguments() -> Value {
    json!({ "request": "Why is the sky blue?", "maxOutputTokens": 400 })
}

/// The receipt of a result.
fn receipt(answer: &crate::app::Answer) -> Value {
    answer.json()["result"]["_meta"]["org.paymentauth/receipt"].clone()
}

#[tokio::test]
async fn a_call_is_paid_for_by_one_invoice_and_the_credential_repeats_the_answer() {
    let (app, backend) = TestApp::scripted(Options::default());
    let unpaid = app.mcp_send(&tool_call(1, &arguments())).await;
    let (error, challenge) = challenged(&unpaid, -32_042, "charge");
    let problem = &error["data"]["problem"];
    assert_eq!((&problem["status"], &problem["code"]), (&json!(402), &json!("payment_required")));
    assert_eq!(error["data"].get("failure"), None);
    assert_eq!(challenge["request"]["amount"], problem["offer"]["amountSats"].to_string());
    assert_eq!(hash_of(&challenge), problem["offer"]["invoice"]["paymentHash"]);
    // Asking again is the same offer, whatever the id of the message.
    let again = app.mcp_send(&tool_call("again", &arguments())).await;
    assert_eq!(challenged(&again, -32_042, "charge").1, challenge);

    let paid = app.mcp_bought(&arguments()).await;
    assert_eq!(paid.hash(), hash_of(&challenge));
    let first = app.mcp_send(&with_credential(tool_call(2, &arguments()), &paid.credential())).await;
    assert_eq!(first.json()["id"], 2);
    let (text, facts) = called(&first);
    assert!(!text.is_empty() && facts["result"] == text, "{facts}");
    let bought = receipt(&first);
    assert_eq!(
        (&bought["status"], &bought["method"], &bought["reference"], &bought["challengeId"]),
        (&json!("success"), &json!("lightning"), &json!(paid.hash()), &challenge["id"])
    );
    let asked = backend.asked();
    let mut at_root = tool_call("third", &arguments());
    at_root["_meta"] = json!({ CREDENTIAL: paid.credential() });
    let mut encoded = paid.credential();
    encoded["challenge"].as_object_mut().unwrap().remove("description");
    for message in [
        with_credential(tool_call(3, &arguments()), &paid.credential()),
        at_root,
        with_credential(tool_call(4, &arguments()), &encoded),
        // The same arguments in other words.
        with_credential(
            tool_call(
                5,
                &json!({ "model": null, "maxOutputTokens": 400, "request": "Why is the sky blue?" }),
            ),
            &paid.credential(),
        ),
    ] {
        let repeated = app.mcp_send(&message).await;
        assert_eq!(called(&repeated), (text.clone(), facts.clone()), "{message}");
        assert_eq!(
            (receipt(&repeated), repeated.json()["id"].clone()),
            (bought.clone(), message["id"].clone())
        );
    }
    // As a header, it is the same credential.
    let by_header = app.mcp(&tool_call(6, &arguments())).header("Authorization", paid.authorization());
    assert_eq!(called(&app.ai_send(by_header).await), (text, facts.clone()));
    assert_eq!(backend.asked(), asked);
    let state = paid.state(&app).await;
    assert_eq!((&state["state"], &state["chargedMsats"]), (&json!("used"), &facts["costMsats"]));
}

/// The revision without a beginning differs in what is around a call, and not in how it is paid for.
#[tokio::test]
async fn a_call_of_the_latest_revision_is_paid_for_as_one_of_the_others() {
    let app = TestApp::new();
    let revision = "2026-07-28";
    let send = async |mut message: Value| {
        let meta = &mut message["params"]["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = revision.into();
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let request = app.mcp(&message).header("MCP-Protocol-Version", revision);
        app.ai_send(request.header("Mcp-Method", "tools/call").header("Mcp-Name", "ask")).await
    };
    let (_, challenge) = challenged(&send(tool_call(1, &arguments())).await, -32_042, "charge");
    let paid = app.mcp_bought(&arguments()).await;
    assert_eq!(challenge, paid.challenge);
    let done = send(with_credential(tool_call(2, &arguments()), &paid.credential())).await;
    let (text, facts) = called(&done);
    assert_eq!(receipt(&done)["reference"], paid.hash());
    let result = &done.json()["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "tithe");
    let earlier = app.mcp_send(&with_credential(tool_call(3, &arguments()), &paid.credential())).await;
    assert_eq!(called(&earlier), (text, facts));
}

#[tokio::test]
async fn sixteen_credentials_at_once_are_one_call() {
    let (app, backend) = TestApp::scripted(Options::default());
    let paid = app.mcp_bought(&arguments()).await;
    let asked = backend.asked();
    let send = |n: usize| {
        let message = with_credential(tool_call(n, &arguments()), &paid.credential());
        app.ai_send(app.mcp(&message))
    };
    let answers = futures_util::future::join_all((0..16).map(send)).await;
    let first = called(&answers[0]);
    assert!(answers.iter().all(|answer| called(answer) == first));
    // A plain request is evaluated first.
    assert!(backend.asked() - asked <= 2, "{} runs", backend.asked() - asked);
}

#[tokio::test]
async fn a_payment_is_for_its_arguments_and_buys_nothing_else() {
    let app = TestApp::new();
    let paid = app.mcp_bought(&arguments()).await;
    for other in [
        json!({ "request": "Why is the sky blue?" }),
        json!({ "request": "Why is the sky red?", "maxOutputTokens": 400 }),
        json!({ "request": "Why is the sky blue?", "maxOutputTokens": 401 }),
        json!({ "request": "Why is the sky blue?", "maxOutputTokens": 400, "model": "sim-large" }),
    ] {
        let refused = app.mcp_send(&with_credential(tool_call(2, &other), &paid.credential())).await;
        let (error, fresh) = challenged(&refused, -32_043, "charge");
        let failure = &error["data"]["failure"];
        assert_eq!(failure["reason"], "another_request", "{error}");
        assert!(failure["detail"].as_str().unwrap().contains("arguments"), "{error}");
        assert_ne!(hash_of(&fresh), paid.hash());
    }
    // Neither on another route.
    let body = arguments();
    let refused = app.proving(Metered::Ask, &body, &paid.authorization()).await;
    Metered::Ask.refused(&refused, 402, "proof_for_another_request");
    assert_eq!(paid.state(&app).await["state"], "paid");
    called(&app.mcp_send(&with_credential(tool_call(2, &arguments()), &paid.credential())).await);
    let of_ask = app.bought(Metered::Ask, &body).await;
    let by_header = app.mcp(&tool_call(3, &body)).header("Authorization", of_ask.l402());
    let (error, _) = challenged(&app.ai_send(by_header).await, -32_043, "charge");
    assert_eq!(error["data"]["failure"]["reason"], "another_request");
}

#[tokio::test]
async fn a_credential_that_proves_nothing_is_refused_with_a_fresh_challenge() {
    let (app, backend) = TestApp::scripted(Options::default());
    let paid = app.mcp_bought(&arguments()).await;
    let asked = backend.asked();
    let mut foreign = paid.clone();
    foreign.challenge["id"] = "AAAA".into();
    let mut cheaper = paid.clone();
    cheaper.challenge["request"]["amount"] = "1".into();
    cheaper.challenge["request"]["more"] = "1".into();
    let guessed = PaidCall { preimage: "00".repeat(32), ..paid.clone() };
    for wrong in [foreign, cheaper, guessed] {
        let refused = app.mcp_send(&with_credential(tool_call(2, &arguments()), &wrong.credential())).await;
        let (error, _) = challenged(&refused, -32_043, "charge");
        let failure = &error["data"]["failure"];
        assert_eq!(failure["reason"], "invalid_proof", "{error}");
        assert!(failure["detail"].as_str().unwrap().contains("do not pay again"), "{error}");
    }
    // In a header, it is as everywhere: whoever sent it may have paid.
    let by_header = app.mcp(&tool_call(2, &arguments()));
    let guessed = PaidCall { preimage: "00".repeat(32), ..paid.clone() };
    let refused = app.send(by_header.header("Authorization", guessed.authorization())).await;
    refused.is_problem(401, "invalid_payment_proof");
    assert!(!refused.header("www-authenticate").contains("Payment"), "{refused:?}");
    assert_eq!((paid.state(&app).await["state"].clone(), backend.asked()), (json!("paid"), asked));
    called(&app.mcp_send(&with_credential(tool_call(2, &arguments()), &paid.credential())).await);
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_is_invalid() {
    let app = TestApp::new();
    let paid = app.mcp_bought(&arguments()).await;
    for (credential, detail) in [
        (json!("Payment e30"), "missing challenge"),
        (json!({}), "missing challenge"),
        (json!({ "challenge": paid.challenge }), "missing payload"),
        (json!({ "challenge": {}, "payload": {} }), "missing challenge.id"),
        // Whoever sent these may have paid, and is offered nothing.
        (json!({ "challenge": paid.challenge, "payload": {} }), "payload.preimage"),
        (json!({ "challenge": paid.challenge, "payload": { "preimage": "abcd" } }), "payload.preimage"),
    ] {
        let answer = app.mcp_send(&with_credential(tool_call(2, &arguments()), &credential)).await.ok(200);
        assert_eq!(answer["error"]["code"], -32_602, "{credential}: {answer}");
        let said = answer["error"]["data"]["detail"].as_str().unwrap();
        assert!(said.contains(detail) || said.contains("invalid credential"), "{credential}: {said}");
    }
    let mut two = with_credential(tool_call(2, &arguments()), &paid.credential());
    let other = PaidCall { preimage: "00".repeat(32), ..paid.clone() };
    two["_meta"] = json!({ CREDENTIAL: other.credential() });
    assert_eq!(app.mcp_send(&two).await.ok(200)["error"]["code"], -32_602);
    assert_eq!(paid.state(&app).await["state"], "paid");
    // Nobody needs it where nothing costs anything.
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "_meta": { CREDENTIAL: 5 } });
    assert!(app.mcp_send(&list).await.ok(200)["result"]["tools"].is_array());
}

#[tokio::test]
async fn a_call_that_fails_costs_nothing_and_the_same_credential_is_tried_again() {
    let (app, backend) = TestApp::scripted(Options::default());
    let paid = app.mcp_bought(&arguments()).await;
    let message = with_credential(tool_call(2, &arguments()), &paid.credential());
    backend.say(Script::of(&[], Ends::Failed));
    let failed = app.mcp_send(&message).await;
    assert!(!call_failed(&failed).is_empty());
    let problem = &failed.json()["result"]["structuredContent"];
    assert_eq!((&problem["status"], &problem["code"]), (&json!(502), &json!("work_failed")), "{failed:?}");
    assert_eq!(paid.state(&app).await["chargedMsats"], 0);
    called(&app.mcp_send(&message).await);
}

#[tokio::test]
async fn arguments_that_are_wrong_are_explained_to_the_model() {
    let app = TestApp::new();
    for (arguments, says) in [
        (json!({}), "request: missing field"),
        (json!({ "request": 5 }), "request: invalid type"),
        (json!({ "request": "hello", "temperature": 1 }), "temperature"),
        (json!({ "request": "hello", "maxOutputTokens": u64::MAX }), "maxOutputTokens"),
        (json!({ "request": "hello", "maxOutputTokens": 0 }), "maxOutputTokens"),
        (json!({ "request": "" }), "request"),
        (json!({ "request": "hello", "model": "no-such-model" }), "model"),
    ] {
        let text = call_failed(&app.mcp_send(&tool_call(1, &arguments)).await);
        assert!(text.contains(says), "{arguments}: {text}");
    }
}

#[tokio::test]
async fn a_session_pays_without_a_receipt_and_a_key_repeats_the_answer() {
    let (app, backend) = TestApp::scripted(Options::default());
    let created = app.post("/api/sessions", json!({ "amountSats": 5_000 }).to_string()).await.ok(201);
    app.pay(created["invoice"]["paymentHash"].as_str().unwrap()).await;
    let bearer = format!("Bearer {}", created["macaroon"].as_str().unwrap());
    let send = async |id: u64, key: &str| {
        let request = app.mcp(&tool_call(id, &arguments())).header("Authorization", &bearer);
        app.ai_send(request.header("Idempotency-Key", key)).await
    };
    let first = send(1, "key-1").await;
    let (text, facts) = called(&first);
    assert_eq!(receipt(&first), Value::Null);
    assert!(facts["debitedMsats"].as_u64().unwrap() > 0, "{facts}");
    assert_eq!(first.header("x-tithe-balance-msats"), facts["balanceMsats"].to_string());
    let asked = backend.asked();
    // The key is for the call, not for the bytes of the message.
    let again = send(2, "key-1").await;
    assert_eq!((called(&again), again.header("idempotency-replayed")), ((text, facts), "true"));
    assert_eq!(backend.asked(), asked);

    // Two payers are refused before anything is done.
    let paid = app.mcp_bought(&arguments()).await;
    let both = app.mcp(&with_credential(tool_call(3, &arguments()), &paid.credential()));
    let both = app.send(both.header("Authorization", &bearer)).await;
    both.is_problem(401, "invalid_payment_proof");
    assert_eq!(paid.state(&app).await["state"], "paid");
}

#[tokio::test]
async fn a_session_that_has_too_little_is_told_how_to_top_up() {
    let app = TestApp::new();
    let created = app.post("/api/sessions", json!({ "amountSats": 100 }).to_string()).await.ok(201);
    app.pay(created["invoice"]["paymentHash"].as_str().unwrap()).await;
    let bearer = format!("Bearer {}", created["macaroon"].as_str().unwrap());
    let large = json!({ "request": "hello", "maxOutputTokens": 4_096, "model": "sim-large" });
    let answer = app.ai_send(app.mcp(&tool_call(1, &large)).header("Authorization", bearer)).await;
    call_failed(&answer);
    let problem = &answer.json()["result"]["structuredContent"];
    assert_eq!(problem["code"], "insufficient_balance", "{problem}");
    assert!(problem["topUp"]["invoice"]["paymentRequest"].is_string(), "{problem}");
}

#[tokio::test]
async fn an_install_pays_with_its_plan() {
    let mut settings: Settings = crate::app::settings();
    let core = Quota { counted: Counted::Lifetime, requests: Some(1), cloud: None };
    settings.credits.plans = Plans { core, ..Plans::default() };
    let app = TestApp::with(Options { settings, ..Options::default() });
    let send = async |id: u64| {
        app.ai_send(app.mcp(&tool_call(id, &arguments())).header("X-Install-Id", install(1))).await
    };
    let (_, facts) = called(&send(1).await);
    assert_eq!(facts["debitedSats"], 0, "{facts}");
    let (error, _) = challenged(&send(2).await, -32_042, "charge");
    assert_eq!(error["data"]["problem"]["code"], "out_of_credits", "{error}");
}

#[tokio::test]
async fn a_call_that_the_evaluation_rejects_is_charged_the_evaluation_and_the_credential_repeats_that() {
    let app = TestApp::new();
    let arguments = json!({ "request": "[sim:reject]", "maxOutputTokens": 400 });
    let paid = app.mcp_bought(&arguments).await;
    let call = with_credential(tool_call(2, &arguments), &paid.credential());
    let first = app.mcp_send(&call).await;
    let text = call_failed(&first);
    assert_eq!(call_failed(&app.mcp_send(&call).await), text);
    let state = paid.state(&app).await;
    assert_eq!(state["state"], "used", "{state}");
    assert!(state["chargedMsats"].as_u64().unwrap() > 0 && state["refund"]["dueSats"].is_u64(), "{state}");
}

#[tokio::test]
async fn a_return_invoice_that_is_wrong_is_the_wallets_to_mend_and_not_the_models() {
    let app = TestApp::new();
    let unpaid = app.mcp_send(&tool_call(1, &arguments())).await;
    let (_, challenge) = challenged(&unpaid, -32_042, "session");
    let preimage = app.pay(challenge["request"]["paymentHash"].as_str().unwrap()).await["preimage"].clone();
    let open = |return_invoice: &str| {
        let payload = json!({ "action": "open", "preimage": preimage, "returnInvoice": return_invoice });
        with_credential(tool_call(2, &arguments()), &json!({ "challenge": challenge, "payload": payload }))
    };
    let refused = app.mcp_send(&open("lnbc1")).await.ok(200);
    assert_eq!(refused["error"]["code"], -32_602, "{refused}");
    assert!(refused["error"]["data"]["detail"].as_str().unwrap().contains("returnInvoice"), "{refused}");
    called(&app.mcp_send(&open(&app.good_return_invoice().await)).await);
}

/// A session of the scheme is the same on every route.
#[tokio::test]
async fn a_deposit_opens_a_session_that_pays_for_calls() {
    let app = TestApp::new();
    let unpaid = app.mcp_send(&tool_call(1, &arguments())).await;
    let (_, challenge) = challenged(&unpaid, -32_042, "session");
    let hash = challenge["request"]["paymentHash"].as_str().unwrap().to_owned();
    let preimage = app.pay(&hash).await["preimage"].clone();
    let return_invoice = app.good_return_invoice().await;
    let open = json!({
        "challenge": challenge,
        "payload": { "action": "open", "preimage": preimage, "returnInvoice": return_invoice },
    });
    let opened = app.mcp_send(&with_credential(tool_call(2, &arguments()), &open)).await;
    called(&opened);
    assert_eq!(receipt(&opened)["reference"], hash);

    let other = json!({ "request": "Why is the grass green?" });
    let (_, fresh) = challenged(&app.mcp_send(&tool_call(3, &other)).await, -32_042, "session");
    let bearer = json!({
        "challenge": fresh, "payload": { "action": "bearer", "sessionId": hash, "preimage": preimage },
    });
    let served = app.mcp_send(&with_credential(tool_call(4, &other), &bearer)).await;
    called(&served);
    assert_eq!(receipt(&served)["challengeId"], fresh["id"]);
    // A credential is for one call.
    let third = json!({ "request": "Why is the night dark?" });
    let refused = app.mcp_send(&with_credential(tool_call(5, &third), &bearer)).await;
    let (error, _) = challenged(&refused, -32_043, "session");
    assert_eq!(error["data"]["failure"]["reason"], "another_request", "{error}");

    // A call closes it, whatever its arguments, and is not done.
    let (_, fresh) = challenged(&app.mcp_send(&tool_call(6, &third)).await, -32_042, "session");
    let close = json!({
        "challenge": fresh, "payload": { "action": "close", "sessionId": hash, "preimage": preimage },
    });
    let closed = app.mcp_send(&with_credential(tool_call(7, &third), &close)).await;
    let (_, facts) = called(&closed);
    assert_eq!(facts["status"], "closed", "{facts}");
    assert_eq!(receipt(&closed)["refundSats"], facts["refundSats"]);
    let (_, fresh) = challenged(&app.mcp_send(&tool_call(8, &third)).await, -32_042, "session");
    let late = json!({
        "challenge": fresh, "payload": { "action": "bearer", "sessionId": hash, "preimage": preimage },
    });
    let refused = app.mcp_send(&with_credential(tool_call(9, &third), &late)).await;
    let (error, _) = challenged(&refused, -32_043, "session");
    assert_eq!(error["data"]["failure"]["reason"], "session_closed", "{error}");
}
