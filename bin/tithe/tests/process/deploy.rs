//! What is in `deploy/`: the files say nothing that the program does not know.

use crate::test_env::TestEnv;
use crate::text;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names in a text that look like settings.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
    let ours = ["TITHE_", "FREE_TIER_", "LNBITS_", "DATABASE_"];
    words
        .filter(|word| ours.iter().any(|prefix| word.starts_with(prefix) && word.len() > prefix.len()))
        .collect()
}

fn read_all(folder: &Path, read: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, read);
        } else {
            read(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_setting_in_deploy_is_one_that_the_program_knows() {
    let checked = TestEnv::sqlite().run(&["config", "check"]);
    let shown = text(&checked.stdout);
    let mut known = names(&shown);
    // The name of the file of settings.
    known.insert("TITHE_CONFIG");
    let mut found = 0;
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy"), &mut |path, text| {
        for name in names(text) {
            found += 1;
            assert!(known.contains(name), "{}: {name} is no setting", path.display());
        }
    });
    assert!(found > 30, "{found}");
}
