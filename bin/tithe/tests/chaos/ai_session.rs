//! A customer who has a session, and spends it at the AI API.

use crate::ai_client::{AiRequest, Answered, Came, Way};
use crate::asker::Asker;
use crate::session::{closed, open};
use reqwest::StatusCode;
use serde_json::Value;
use std::sync::atomic::Ordering;

/// A request that was answered in the end, and what is known of the tries before.
struct Bought {
    request: AiRequest,
    answered: Answered,
    /// How many tries may have been charged besides: those of clients that have no key, and those that an SDK has left.
    unknown: u32,
    /// What clients have seen that have left: the id of the record, and the text.
    left: Vec<(String, String)>,
}

/// A request in the history of a session.
struct Record {
    id: String,
    text: String,
    debited_msats: u64,
    is_whole: bool,
}

/// Opens a session, and spends it in all ways that clients have. Each answer was charged once, as it says; what nobody has seen whole
/// was charged at most once for each try, and no more than what was delivered; and nothing stays held.
pub(crate) async fn spend(asker: Asker, number: u64, requests: u64) {
    let (paid, path, macaroon) = open(&asker, 10_000 + number).await;
    let mut all = Vec::new();
    for n in 0..requests * 2 {
        let marker = format!("AI session {number}, request {n}:");
        let way = match asker.random(3) {
            0 => Way::Keyed(format!("{marker} {:016x}", asker.random(u64::MAX))),
            1 => Way::Retried,
            _ => Way::Plain,
        };
        let request = asker.any_ai_request(format!("{marker} why is the sky blue?"), way);
        all.push(buy(&asker, &macaroon, request).await);
    }
    let session = closed(&asker, &path, &macaroon).await;
    let records = history(&asker, &path, &macaroon).await;
    let debited: u64 = records.iter().map(|record| record.debited_msats).sum();
    assert_eq!(session["spentMsats"], debited, "{session}");
    let refund = session["refund"]["amountSats"].as_u64().unwrap();
    assert_eq!(refund, (paid * 1_000 - debited) / 1_000, "{session}");
    let mut found = 0;
    for bought in &all {
        let of_request: Vec<&Record> = records.iter().filter(|record| bought.is_of(record)).collect();
        check(bought, &of_request);
        found += of_request.len();
    }
    // Of tries of which too little was delivered to say what was asked.
    let unknown: usize = all.iter().map(|bought| usize::try_from(bought.unknown).unwrap()).sum();
    assert!(records.len() - found <= unknown, "{} records of {unknown} tries", records.len() - found);
    asker.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
    asker.tally.ends.add("AI session closed");
}

impl Bought {
    /// Whether a record is of this request: by what the client knows of it, or by the question that the simulation repeats.
    fn is_of(&self, record: &Record) -> bool {
        let (marker, _) = self.request.text.split_once(':').unwrap();
        record.id == self.answered.id
            || self.left.iter().any(|(id, _)| *id == record.id)
            || record.text.contains(&format!("You asked: {marker}:"))
    }
}

/// Has a request done, however often that takes.
async fn buy(asker: &Asker, macaroon: &str, request: AiRequest) -> Bought {
    let (mut unknown, mut left) = (0, Vec::new());
    for tried in 0.. {
        match asker.ai_try(Some(macaroon), &request, tried, asker.leaves()).await {
            Came::Answered(answered) => {
                let kind = match (&request.way, request.is_stream) {
                    (Way::Keyed(_), true) => "stream with a key",
                    (Way::Keyed(_), false) => "answer with a key",
                    (Way::Retried, true) => "stream of an SDK",
                    (Way::Retried, false) => "answer of an SDK",
                    (Way::Plain, true) => "stream without a key",
                    (Way::Plain, false) => "answer without a key",
                };
                asker.tally.ends.add(&format!("AI {kind}"));
                return Bought { request, answered, unknown, left };
            }
            Came::Refused(error) => panic!("the session has enough: {error}"),
            Came::Left { id, text } => {
                asker.tally.ends.add("AI stream left");
                left.push((id, text));
                unknown += u32::from(!matches!(request.way, Way::Keyed(_)));
            }
            Came::Nothing => unknown += u32::from(request.way == Way::Plain),
        }
        asker.pause().await;
    }
    unreachable!("tries have no end")
}

/// That the records of a request are what its client knows of them.
fn check(bought: &Bought, records: &[&Record]) {
    let Bought { request, answered, unknown, left } = bought;
    let seen = || format!("{request:?}, {answered:?}, left {left:?}");
    let own: Vec<_> = records.iter().filter(|record| record.id == answered.id).collect();
    assert_eq!(own.len(), 1, "an answer that was acknowledged has one record: {}", seen());
    assert_eq!(own[0].debited_msats, answered.cost_msats, "{}", seen());
    assert_eq!(own[0].text, answered.text, "{}", seen());
    assert!(own[0].debited_msats > 0, "{}", seen());
    let others = records.len() - 1;
    assert!(others <= usize::try_from(*unknown).unwrap(), "charged {} times: {}", records.len(), seen());
    // All tries are the same request, whose whole answer is always the same.
    let whole = records.iter().filter(|record| record.is_whole).map(|record| record.debited_msats).max();
    for record in records {
        assert!(whole.is_none_or(|whole| record.debited_msats <= whole), "{}", seen());
        // What a client has seen was delivered, and was charged.
        for (_, text) in left.iter().filter(|(id, _)| *id == record.id) {
            assert!(record.text.starts_with(text.as_str()), "{:?} is charged: {}", record.text, seen());
        }
    }
}

/// The requests of a session that were charged. None runs any more.
async fn history(asker: &Asker, path: &str, macaroon: &str) -> Vec<Record> {
    let (mut records, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}/requests?limit=20{cursor}");
        let (status, page) = asker.ask_with(Some(macaroon), "GET", &page, None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for request in page["requests"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let debited_msats = request["debitedMsats"].as_u64().unwrap();
            match request["state"].as_str().unwrap() {
                "complete" => records.push(Record {
                    id: text(&request["requestId"]),
                    text: text(&request["result"]),
                    debited_msats,
                    is_whole: request["finishReason"] != "interrupted",
                }),
                "failed" => assert_eq!(debited_msats, 0, "{request}"),
                other => panic!("{other}: {request}"),
            }
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}
