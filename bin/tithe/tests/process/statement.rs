//! `tithe statement`: the operator's books of a month, to the msat what the ledger says.

use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, ask, text};
use std::io::Write as _;
use std::process::{Output, Stdio};

on_both_stores! {
    the_statement_of_a_month_is_what_the_ledger_says,
    a_customers_statement_is_that_of_the_operator,
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

/// More than a page of the session's history.
const ASKED: usize = 22;

fn a_customers_statement_is_that_of_the_operator(env: &TestEnv) {
    let server = env.start();
    let url = server.url("");
    let now = || tithe_clock::Clock::now(&tithe_clock::SystemClock).to_string();
    let month = now()[..7].to_owned();
    let session = |arguments: &[&str]| server.run(&[&["session"], arguments, &["--server", &url]].concat());
    let opened = session(&["open", "5000", "--dev-pay", "--no-qr"]);
    let macaroon = printed(&opened);
    let id = text(&opened.stderr)
        .lines()
        .find_map(|line| line.strip_prefix("Session ").map(str::to_owned))
        .unwrap();
    let with = |arguments: &[&str]| session(&[arguments, &["--macaroon", macaroon.trim()]].concat());
    for number in 0..ASKED {
        printed(&with(&["ask", &number.to_string(), "--max-output-tokens", "20"]));
    }
    let rejected = with(&["ask", "[sim:reject] this", "--max-output-tokens", "20"]);
    assert_eq!(rejected.status.code(), Some(3), "{}", all_of(&rejected));
    printed(&with(&["close"]));
    if now()[..7] != month {
        return;
    }

    let file = env.path().join("macaroon");
    std::fs::write(&file, &macaroon).unwrap();
    let file = file.to_str().unwrap();
    let mine = |arguments: &[&str]| server.run(&[&["statement", "--url", &url], arguments].concat());
    let csv = mine(&["--macaroon-file", file, "--format", "csv"]);
    let records = printed(&csv);
    let mut lines: Vec<&str> = records.split_terminator("\r\n").collect();
    let books = server.run(&["statement", "--month", &month, "--session", &id, "--format", "csv"]);
    let books = printed(&books);
    let mut expected: Vec<&str> = books.split_terminator("\r\n").collect();
    assert_eq!(lines.remove(0), expected.remove(0), "the columns");
    expected.retain(|line| line.split(',').nth(1) == Some("session request"));
    expected.reverse();
    assert_eq!((lines.len(), &lines), (ASKED + 1, &expected));
    let charged: u64 = lines.iter().map(|line| line.split(',').nth(9).unwrap().parse::<u64>().unwrap()).sum();
    let totals = text(&csv.stderr);
    for total in [
        &format!("charged to the session: {charged} msats"),
        "balance now: 0 msats",
        "refund at the end of the session: ",
        "receipts signed by: npub1",
    ] {
        assert!(totals.contains(total), "{total}: {totals}");
    }

    // The same as text, of the month, and with the macaroon from the standard input.
    let shown = printed(&mine(&["--macaroon-file", file, "--month", &month]));
    assert!(shown.contains(&format!("charged to the session: {charged} msats")), "{shown}");
    let before = printed(&mine(&["--macaroon-file", file, "--month", "2020-02"]));
    assert!(before.contains("lines: 0\n"), "{before}");
    let arguments = ["statement", "--url", &url, "--macaroon-file", "-", "--format", "html"];
    let mut piped = crate::server::tithe(env.path());
    let mut piped = piped.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(macaroon.as_bytes()).unwrap();
    let page = printed(&piped.wait_with_output().unwrap());
    assert!(page.contains(&format!("<h1>Statement of the session {id}</h1>")), "{page}");
    assert!(page.contains(&format!("<td>{charged} msats</td>")), "{page}");

    // A narrowed macaroon does not read what others have spent.
    let narrow = server.run(&["macaroon", "narrow", macaroon.trim(), "--caveat", "max_requests=1"]);
    std::fs::write(env.path().join("narrow"), printed(&narrow)).unwrap();
    let refused = mine(&["--macaroon-file", env.path().join("narrow").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{}", all_of(&refused));
    for (wrong, code, says) in [
        (&["--macaroon-file", "nowhere"][..], 1, "cannot read the macaroon in nowhere"),
        (&[], 1, "expected --macaroon-file"),
        (&["--session", &id], 2, "cannot be used with"),
    ] {
        let refused = mine(wrong);
        assert_eq!(refused.status.code(), Some(code), "{wrong:?}: {}", all_of(&refused));
        assert!(text(&refused.stderr).contains(says), "{wrong:?}: {}", all_of(&refused));
    }
    let nothing = server.run(&["statement"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", all_of(&nothing));
}
