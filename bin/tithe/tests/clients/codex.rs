//! Codex, which speaks only `/v1/responses`.

use crate::page::block;
use crate::program::{installed, patient};
use crate::shop::Shop;
use std::process::Command;
use std::time::{Duration, Instant};

/// A home with the configuration of the page on clients, and the command that asks for something.
fn codex(shop: &Shop, key: &str, prompt: &str) -> Command {
    let home = shop.folder.path().join("codex");
    std::fs::create_dir_all(&home).unwrap();
    let configuration = block("codex config").code.replace("http://127.0.0.1:8402", &shop.url());
    std::fs::write(home.join("config.toml"), configuration).unwrap();
    let mut command = patient(installed("TITHE_TEST_CODEX"));
    command.args(["exec", "--skip-git-repo-check", "--output-last-message"]).arg(home.join("last.txt")).arg(prompt);
    // The key of the variable that the configuration names.
    command.current_dir(&home).env("CODEX_HOME", &home).env("CODEX_TEST_KEY", key);
    command
}

fn last_message(shop: &Shop) -> String {
    std::fs::read_to_string(shop.folder.path().join("codex/last.txt")).unwrap()
}

pub(crate) async fn completes_a_turn() {
    let shop = Shop::open(&[]).await;
    let printed = shop.run(codex(&shop, &shop.key, "Why is the sky blue?"));
    assert!(last_message(&shop).starts_with("You asked: Why is the sky blue?"), "{printed}");
    shop.close().await;
}
