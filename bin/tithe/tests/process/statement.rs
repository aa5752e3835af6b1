//! `tithe statement`: the operator's books of a month, to the msat what the ledger says.

use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use std::process::Output;

on_both_stores! {
    the_statement_of_a_month_is_what_the_ledger_says,
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

fn the_statement_of_a_month_is_what_the_ledger_says(env: &TestEnv) {
    let server = env.start();
    let now = || tithe_clock::Clock::now(&tithe_clock::SystemClock).to_string();
    let month = now()[..7].to_owned();
    let bought = ask(&server, &["Why is the sky blue?"]);
    assert!(bought.status.success(), "{}", all_of(&bought));
    let told = text(&bought.stderr);
    let job = told.lines().find_map(|line| line.strip_prefix("Job ")).unwrap().to_owned();
    if now()[..7] != month {
        return;
    }
    let statement = |arguments: &[&str]| server.run(&[&["statement", "--month", &month], arguments].concat());

    let csv = statement(&["--format", "csv"]);
    let records = printed(&csv);
    let lines: Vec<&str> = records.split_terminator("\r\n").collect();
    assert!(lines[0].starts_with("time,kind,id,session,"), "{records}");
    let of = |kind: &str| -> Vec<Vec<&str>> {
        let cells = lines[1..].iter().map(|line| line.split(',').collect::<Vec<_>>());
        cells.filter(|cells| cells[1] == kind && cells[2] == job).collect()
    };
    let [evaluation, work, refund] =
        &["job evaluation", "job work", "refund"].map(|kind| of(kind).remove(0))[..]
    else {
        panic!("{records}")
    };
    assert_eq!((work[6], evaluation[7]), ("sim-large", ""), "{records}");
    let amount = |cell: &str| cell.parse::<u64>().unwrap();
    assert!(amount(work[8]) > 0 && amount(work[9]) > 0 && amount(evaluation[9]) > 0, "{records}");
    assert!(amount(refund[13]) > 0 && refund[9] == "0", "{records}");
    // A millionth of a dollar for a msat, at 100000 dollars for a bitcoin.
    assert_eq!(tithe_money::UsdMicros::parse(work[14]).unwrap().get(), amount(work[9]));
    let charged: u64 = lines[1..].iter().map(|line| amount(line.split(',').nth(9).unwrap())).sum();
    let totals = text(&csv.stderr);
    assert!(totals.contains(&format!("charged to customers: {charged} msats")), "{totals}");

    let shown = printed(&statement(&[]));
    assert!(shown.contains(&format!("charged to customers: {charged} msats")), "{shown}");
    assert!(
        shown.contains("payments for jobs: ") && shown.contains("routing fees of payouts: 0 msats"),
        "{shown}"
    );
    let page = printed(&statement(&["--format", "html"]));
    assert!(page.starts_with("<!doctype html>") && page.contains(&format!("<td>{job}</td>")), "{page}");

    // Nothing is of another customer, nor of another month.
    let nobody = "00000000-0000-4000-8000-000000000000";
    let theirs = printed(&statement(&["--session", nobody]));
    assert!(theirs.contains("lines: 0\n") && !theirs.contains("payments for jobs"), "{theirs}");
    let before = printed(&server.run(&["statement", "--month", "2020-02"]));
    assert!(
        before.contains("from 2020-02-01T00:00:00.000000Z, before 2020-03-01T00:00:00.000000Z"),
        "{before}"
    );
    assert!(before.contains("lines: 0\n"), "{before}");
    let wrong = server.run(&["statement", "--month", "2026-13"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", all_of(&wrong));
    assert!(text(&wrong.stderr).contains("expected a year and a month, such as 2026-11"));
}
