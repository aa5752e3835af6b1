//! Agents in the terminal, set up as the page on clients says: Codex speaks only `/v1/responses`, Claude Code only `/v1/messages`.

use crate::page;
use crate::program::{installed, patient};
use crate::shop::Shop;
use std::process::Command;

fn codex(shop: &Shop, arguments: &[&str]) -> Command {
    page::configure_codex(shop);
    let mut command = patient(installed("TITHE_TEST_CODEX"));
    command.args(["exec", "--skip-git-repo-check"]).args(arguments).current_dir(shop.folder.path());
    command
}

/// Text, reasoning, and a whole round trip of a command that Codex runs.
pub(crate) async fn codex_completes_its_turns() {
    let shop = Shop::open(&[]).await;
    for (prompt, expected) in [
        ("Why is the sky blue?", "You asked: Why is the sky blue?"),
        ("[sim:reason] Why?", "The question is read, and nothing is thought about it"),
        ("[sim:call=exec_command] Look around.", "The functions returned: "),
    ] {
        let printed = shop.run(codex(&shop, &["--json", prompt]));
        assert!(printed.contains(expected), "{printed}");
        assert!(printed.lines().last().unwrap().contains("turn.completed"), "{printed}");
    }
    shop.close().await;
}

/// Codex tries again whatever status it does not know, but not for ever.
pub(crate) async fn codex_ends_for_lack_of_balance() {
    let shop = Shop::open(&[]).await;
    let mut poor = codex(&shop, &["Why is the sky blue?"]);
    poor.env("TITHE_KEY", &shop.poor_key);
    let ended = shop.try_run(poor);
    let printed = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{printed}");
    assert!(printed.contains("402 Payment Required: "), "{printed}");
    assert_eq!(refusals(&shop, "/v1/responses"), 2, "one try, and as many more as `stream_max_retries` says");
    assert_eq!(shop.spent_msats().await, 0);
    shop.audit();
}

/// Claude Code does not try again.
pub(crate) async fn claude_code_ends_for_lack_of_balance() {
    let shop = Shop::open(&[]).await;
    let mut poor = page::command(&shop, "claude code");
    poor.env("TITHE_KEY", &shop.poor_key);
    let ended = shop.try_run(poor);
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{printed}");
    assert!(printed.contains("402 "), "{printed}");
    assert_eq!(refusals(&shop, "/v1/messages"), 1, "{printed}");
    assert_eq!(shop.spent_msats().await, 0);
    shop.audit();
}

/// How many requests were refused for lack of balance.
fn refusals(shop: &Shop, path: &str) -> usize {
    let path = format!("path=\"{path}\"");
    shop.log().lines().filter(|line| line.contains(&path) && line.contains("status=402")).count()
}
