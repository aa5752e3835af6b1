//! Whatever is asked of the pool, in whatever order and from however many servers, a naive reference agrees.

use super::servers::Servers;
use super::{FreshStore, assert_sound};
use crate::model::{Course, Tally, drive, race};

/// Random commands would prove little if they never met what they are for.
fn assert_met(tally: &Tally, met: &[(&'static str, &str)]) {
    let missed = |(name, what): &&(&'static str, &str)| !tally.contains_key(&(*name, (*what).to_owned()));
    let missed: Vec<_> = met.iter().filter(missed).collect();
    assert!(missed.is_empty(), "never met: {missed:?}, but {tally:?}");
}

/// What any long run meets.
const OFTEN: [(&str, &str); 29] = [
    ("charge", "AlreadyDone"),
    ("charge", "paid by both"),
    ("charge", "paid by the customer"),
    ("charge", "paid by the pool"),
    ("charge", "refused: too little money"),
    ("evaluation_finish", "paid by both"),
    ("evaluation_finish", "paid by the customer"),
    ("evaluation_finish", "paid by the pool"),
    ("evaluation_finish", "refused: lease"),
    ("grant_expire", "Reserved"),
    ("grant_release", "Reserved"),
    ("grant_renew", "Reserved"),
    ("grant_reserve", "Reserved"),
    ("grant_reserve", "refused: not free"),
    ("grant_settle", "refused: ended"),
    ("grant_settle", "settled"),
    ("hold_expire", "Held"),
    ("hold_place", "Held"),
    ("hold_release", "Held"),
    ("hold_renew", "Held"),
    ("hold_settle", "paid by the customer"),
    ("post", "AlreadyDone"),
    ("post", "Done"),
    ("payment_credit", "AlreadyDone"),
    ("payment_credit", "then executing"),
    ("auth_nonce_consume", "refused: used"),
    ("work_finish", "failed"),
    ("work_finish", "paid by the customer"),
    ("work_finish", "paid by the pool"),
];

/// What every race meets, whoever wins it.
const RACES: [(&str, &str); 8] = [
    ("charge", "AlreadyDone"),
    ("charge", "paid by the customer"),
    ("charge", "paid by the pool"),
    ("evaluation_finish", "paid by the customer"),
    ("grant_reserve", "Reserved"),
    ("grant_reserve", "refused: not free"),
    ("payment_credit", "AlreadyDone"),
    ("work_finish", "refused: lease"),
];

/// What a run meets whose limits are near.
const NEAR: [(&str, &str); 6] = [
    ("evaluation_finish", "rejected"),
    ("grant_expire", "refused: not over"),
    ("grant_release", "refused: another's"),
    ("grant_settle", "late"),
    ("payment_credit", "then expired"),
    ("work_finish", "paid by both"),
];

/// What a run of mostly plain requests meets.
const ASKS: [(&str, &str); 27] = [
    ("ask_begin", "Reserved"),
    ("ask_begin", "cloud"),
    ("ask_begin", "hardware"),
    ("ask_begin", "refused: no cloud"),
    ("ask_begin", "refused: not free"),
    ("ask_begin", "refused: out of credits"),
    ("ask_begin", "refused: revoked"),
    ("ask_begin", "refused: too many installs"),
    ("ask_release", "Done"),
    ("ask_finish", "answered"),
    ("ask_finish", "answered, late"),
    ("ask_finish", "answered, paid by the pool"),
    ("ask_finish", "refused: another install's"),
    ("ask_finish", "refused: another's"),
    ("ask_finish", "refused: ended"),
    ("ask_finish", "refused: no credit"),
    ("ask_finish", "rejected"),
    ("ask_renew", "Done"),
    ("ask_renew", "refused: ended"),
    ("credit_expire", "Done"),
    ("credit_expire", "refused: another install's"),
    ("credit_expire", "refused: ended"),
    ("credit_expire", "refused: not over"),
    ("installs_import", "0 added, 2 kept"),
    ("installs_import", "1 added, 1 kept"),
    ("installs_import", "2 added, 0 kept"),
    ("licence_revoke", "Revoked"),
];

/// Small budgets, a small pool, people who rise and fall within hours.
pub async fn random_commands_of_the_pool_match_the_reference(store: FreshStore) {
    let tally = drive(store.clone(), &Course::tight(), 3, 200).await;
    assert_met(&tally, &OFTEN);
    assert_met(&tally, &NEAR);
    assert_sound(&store).await;
}

/// The design's own rules, after weeks of payments.
pub async fn random_commands_by_the_designs_rules_match_the_reference(store: FreshStore) {
    let tally = drive(store.clone(), &Course::by_design(), 5, 160).await;
    assert_met(&tally, &OFTEN);
    assert_sound(&store).await;
}

/// Mostly plain requests, of installs whose quotas are small, with weeks and months between them.
pub async fn random_requests_of_installs_match_the_reference(store: FreshStore) {
    let tally = drive(store.clone(), &Course::of_installs(), 7, 120).await;
    assert_met(&tally, &ASKS);
    assert_sound(&store).await;
}

/// The same, from 8 streams that meet on two servers.
pub async fn random_requests_of_installs_from_two_servers_match_the_reference(servers: Servers) {
    let tally = race(&servers, &Course::of_installs(), 2, 8, 80).await;
    assert_met(&tally, &[("ask_begin", "cloud"), ("ask_finish", "answered"), ("credit_expire", "Done")]);
    assert_sound(&servers[0]).await;
}

/// 12 streams of commands meet on two servers whose clocks disagree: there is an order of the batches, which is the order in
/// which they were committed, in which the reference answers every single command as the servers did, and ends with the
/// same rows.
pub async fn random_commands_from_two_servers_at_once_match_the_reference(servers: Servers) {
    let tally = race(&servers, &Course::tight(), 1, 12, 120).await;
    assert_met(&tally, &RACES);
    assert_sound(&servers[1]).await;
}
