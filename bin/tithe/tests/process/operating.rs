//! The chapters on operating: what they tell an operator to type is run by a test or a recipe, as it is written there.

use crate::server::tithe;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A block of code in a chapter.
struct Block {
    place: String,
    procedure: Option<String>,
    text: String,
}

fn blocks() -> Vec<Block> {
    let chapters = fs::read_dir(root().join("docs/operating")).unwrap();
    chapters.flat_map(|chapter| blocks_of(&chapter.unwrap().path())).collect()
}

fn blocks_of(chapter: &Path) -> Vec<Block> {
    let text = fs::read_to_string(chapter).unwrap();
    let (mut found, mut open, mut before): (Vec<Block>, Option<Block>, &str) = (vec![], None, "");
    for (number, line) in text.lines().enumerate() {
        match (open.take(), line.starts_with("```")) {
            (Some(block), true) => found.push(block),
            (Some(block), false) => {
                open = Some(Block { text: block.text + line + "\n", ..block });
            }
            (None, true) => {
                let name = before.strip_prefix("<!-- procedure: ").and_then(|rest| rest.strip_suffix(" -->"));
                let place = format!("{}:{}", chapter.display(), number + 1);
                open = Some(Block { place, procedure: name.map(str::to_owned), text: String::new() });
            }
            (None, false) => {}
        }
        before = line;
    }
    found
}

/// The block of the chapters with this name, as an operator reads it.
pub(crate) fn procedure(name: &str) -> String {
    let block = blocks().into_iter().find(|block| block.procedure.as_deref() == Some(name));
    block.unwrap_or_else(|| panic!("no procedure is named {name}")).text
}

/// A shell that runs blocks of the chapters as an operator does: in this folder, with the program under test, and with no configuration
/// but what is in the folder.
pub(crate) fn shell(folder: &Path, blocks: &str) -> Command {
    let program = tithe(folder);
    let place = Path::new(program.get_program()).parent().unwrap().to_owned();
    let paths = env::var_os("PATH").unwrap_or_default();
    let paths = env::join_paths(std::iter::once(place).chain(env::split_paths(&paths))).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-euc", blocks]).current_dir(folder).env("PATH", paths);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    // PGHOST and its like are about other databases.
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        shell.env_remove(name);
    }
    shell
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_procedure_is_run_by_a_test_or_a_recipe() {
    let mut sources = vec![root().join("justfile")];
    for folder in ["bin/tithe/tests", ".ci", "crates/test-postgres"] {
        files(&root().join(folder), &mut sources);
    }
    let sources: Vec<String> = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut names = BTreeSet::new();
    for Block { place, procedure, .. } in blocks() {
        let name = procedure.unwrap_or_else(|| panic!("{place}: no `<!-- procedure: name -->` before it"));
        let mentions = [format!("\"{name}\""), format!("procedure {name}")];
        let run = sources.iter().any(|source| mentions.iter().any(|mention| source.contains(mention)));
        assert!(run, "{place}: no test and no recipe runs {name}");
        assert!(names.insert(name.clone()), "{place}: {name} is the name of another block");
    }
}
