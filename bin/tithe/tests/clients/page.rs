//! The page on clients, `docs/clients.md`, whose code is run as it is written.

use crate::program::{folder, installed, patient};
use crate::shop::Shop;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../../../docs/clients.md");
/// Where the server of the page listens.
const PAGE_URL: &str = "http://127.0.0.1:8402";
/// The block that gets a key, and the one that narrows it.
const KEY: &str = "key";
const NARROW: &str = "narrow";

/// A block of code, marked with `<!-- client: name -->`.
struct Block {
    name: &'static str,
    language: &'static str,
    code: &'static str,
}

fn blocks() -> Vec<Block> {
    let marked = PAGE.split("<!-- client: ").skip(1);
    let blocks = marked.map(|text| {
        let (name, after) = text.split_once(" -->\n```").unwrap();
        let (language, after) = after.split_once('\n').unwrap();
        let (code, _) = after.split_once("```").unwrap();
        Block { name, language, code }
    });
    blocks.collect()
}

impl Block {
    fn of(name: &str) -> Self {
        blocks().into_iter().find(|block| block.name == name).unwrap_or_else(|| panic!("no block {name:?}"))
    }

    /// Runs it as a customer of this server.
    fn command(&self, shop: &Shop) -> Command {
        let code = self.code.replace(PAGE_URL, &shop.url());
        let write = |folder: &Path, extension: &str| {
            let file = folder.join(format!("page-{}.{extension}", self.name.replace(' ', "-")));
            std::fs::write(&file, &code).unwrap();
            file
        };
        let mut command = match self.language {
            "sh" => {
                let mut bash = patient("bash".into());
                bash.args(["-euo", "pipefail", "-c", &code]);
                bash
            }
            "python" => {
                let mut python = patient(installed("TITHE_TEST_PYTHON"));
                python.arg(write(shop.folder.path(), "py"));
                python
            }
            "js" => {
                let mut node = patient(installed("TITHE_TEST_NODE"));
                // A script finds the packages of the folder that it is in.
                node.arg(write(&folder(), "mjs"));
                node
            }
            other => panic!("no program runs {other:?}"),
        };
        let tithe = Path::new(env!("CARGO_BIN_EXE_tithe")).parent().unwrap().to_owned();
        let programs = [tithe, folder().join("programs"), folder().join("node_modules/.bin")];
        let path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
        let path = std::env::join_paths(programs.into_iter().chain(path)).unwrap();
        command.current_dir(shop.folder.path()).env("PATH", path);
        command
    }
}

/// Writes the configuration of Codex where the page says.
pub(crate) fn configure_codex(shop: &Shop) {
    let folder = shop.folder.path().join(".codex");
    std::fs::create_dir_all(&folder).unwrap();
    let configuration = Block::of("codex config").code.replace(PAGE_URL, &shop.url());
    std::fs::write(folder.join("config.toml"), configuration).unwrap();
}

/// The command of a block.
pub(crate) fn command(shop: &Shop, name: &str) -> Command {
    Block::of(name).command(shop)
}

pub(crate) async fn works_as_it_is_written() {
    let mut shop = Shop::open(&[]).await;
    configure_codex(&shop);
    let printed = shop.run(command(&shop, KEY));
    let key = printed.lines().last().unwrap().to_owned();
    shop.use_key(key).await;
    let narrowed = shop.run(command(&shop, NARROW));
    assert!(narrowed.len() > shop.key.len(), "{narrowed}");
    for block in
        blocks().iter().filter(|block| ![KEY, NARROW].contains(&block.name) && block.language != "toml")
    {
        let printed = shop.run(block.command(&shop));
        assert!(printed.contains("You asked: "), "{}: {printed}", block.name);
    }
    assert!(shop.spent_msats().await > 0);
    shop.audit();
}
