//! Replacing a database by another one, so that a crash at any moment leaves the former or the new one whole.
//!
//! A database is more than one file, and no system renames several at once. So a file beside it says what is to be done, before the
//! first step: whoever finds it does the rest. The former files are kept under other names. It has names, not paths, so that the folder
//! can be moved, or mounted elsewhere, in the meantime.

use crate::files::{beside, give_to_owner_of_folder, private, sync_folder_of};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The files that SQLite keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A replacement that has begun. All its files are beside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// The file that is to be the database.
    pub(crate) staged: PathBuf,
    /// The name that the former database gets.
    pub(crate) aside: PathBuf,
}

/// One step of it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Step {
    fn take(&self) -> io::Result<()> {
        match self {
            Self::Rename(from, to) => fs::rename(from, to).and_then(|()| sync_folder_of(to)),
            Self::Remove(path) => fs::remove_file(path).and_then(|()| sync_folder_of(path)),
        }
    }
}

fn marker(database: &Path) -> PathBuf {
    beside(database, "-restore")
}

/// Whether a replacement has begun and not ended.
pub(crate) fn is_begun(database: &Path) -> bool {
    marker(database).exists()
}

/// Writes down what is to be done. From then on, the new database counts.
pub(crate) fn begin(database: &Path, replacement: &Replacement) -> io::Result<()> {
    let (marker, draft) = (marker(database), beside(database, "-restore.part"));
    let mut file = private().create(true).truncate(true).open(&draft)?;
    let name = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        name.ok_or_else(|| io::Error::other("the name of the database is not UTF-8"))
    };
    writeln!(file, "{}\n{}", name(&replacement.staged)?, name(&replacement.aside)?)?;
    file.sync_all()?;
    give_to_owner_of_folder(&draft);
    fs::rename(&draft, &marker)?;
    sync_folder_of(&marker)
}

/// Does the rest of a replacement that has begun, if one has.
pub(crate) fn complete(database: &Path) -> io::Result<()> {
    while let Some(step) = next(database)? {
        step.take()?;
    }
    Ok(())
}

/// What is left to do. It follows from which files there are, so that a step may be interrupted before or after its effect.
fn next(database: &Path) -> io::Result<Option<Step>> {
    let marker = marker(database);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(other),
    };
    let is_name = |name: &&str| Path::new(name).file_name() == Some(OsStr::new(name));
    let mut names = text.lines().filter(is_name).map(|name| database.with_file_name(name));
    let (Some(staged), Some(aside)) = (names.next(), names.next()) else {
        let marker = marker.display();
        return Err(io::Error::other(format!("invalid {marker}: expected the names of two files")));
    };
    if !staged.try_exists()? {
        if database.try_exists()? {
            // It is in place.
            return Ok(Some(Step::Remove(marker)));
        }
        let (staged, database, aside) = (staged.display(), database.display(), aside.display());
        return Err(io::Error::other(format!(
            "neither the new database {staged} nor {database} exists: nothing was changed. Put {staged} back; or remove {} and \
             restore a backup with `tithe restore` (the former database, if there was one, is {aside})",
            marker.display()
        )));
    }
    for suffix in COMPANIONS {
        let companion = beside(database, suffix);
        if companion.exists() {
            return Ok(Some(Step::Rename(companion, beside(&aside, suffix))));
        }
    }
    if database.exists() {
        return Ok(Some(Step::Rename(database.to_owned(), aside)));
    }
    Ok(Some(Step::Rename(staged, database.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the folder, by name.
    fn contents(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn named(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_crash_after_any_step_leaves_what_the_next_program_completes() {
        for steps in 0..10 {
            for former in [&["", "-wal", "-shm"][..], &["-wal"], &[]] {
                let folder = tempfile::tempdir().unwrap();
                let at = |name: &str| folder.path().join(name);
                for suffix in former {
                    fs::write(at(&format!("tithe.db{suffix}")), format!("former{suffix}")).unwrap();
                }
                fs::write(at("staged"), "new").unwrap();
                let replacement = Replacement { staged: at("staged"), aside: at("aside") };
                begin(&at("tithe.db"), &replacement).unwrap();
                for _ in 0..steps {
                    if let Some(step) = next(&at("tithe.db")).unwrap() {
                        step.take().unwrap();
                    }
                }
                complete(&at("tithe.db")).unwrap();
                let mut expected: Vec<_> = former
                    .iter()
                    .map(|suffix| named(&format!("aside{suffix}"), &format!("former{suffix}")))
                    .collect();
                expected.push(named("tithe.db", "new"));
                expected.sort();
                assert_eq!(contents(folder.path()), expected, "{steps} steps, {former:?}");
                assert!(!is_begun(&at("tithe.db")));
            }
        }
    }

    #[test]
    fn a_folder_may_be_moved_in_the_meantime() {
        for steps in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let (here, there) = (folder.path().join("here"), folder.path().join("there"));
            fs::create_dir(&here).unwrap();
            fs::write(here.join("tithe.db"), "former").unwrap();
            fs::write(here.join("staged"), "new").unwrap();
            let replacement = Replacement { staged: here.join("staged"), aside: here.join("aside") };
            begin(&here.join("tithe.db"), &replacement).unwrap();
            for _ in 0..steps {
                if let Some(step) = next(&here.join("tithe.db")).unwrap() {
                    step.take().unwrap();
                }
            }
            fs::rename(&here, &there).unwrap();
            complete(&there.join("tithe.db")).unwrap();
            assert_eq!(
                contents(&there),
                [named("aside", "former"), named("tithe.db", "new")],
                "{steps} steps"
            );
        }
    }

    #[test]
    fn nothing_is_done_when_both_databases_are_missing_or_the_plan_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let replacement = Replacement { staged: at("staged"), aside: at("aside") };
        begin(&at("tithe.db"), &replacement).unwrap();
        let refused = complete(&at("tithe.db")).unwrap_err().to_string();
        assert!(
            refused.starts_with("neither the new database ") && refused.contains("tithe restore"),
            "{refused}"
        );
        assert!(is_begun(&at("tithe.db")));
        fs::write(at("tithe.db"), "former").unwrap();
        for text in ["", "staged\n", "/elsewhere/staged\naside\n", "../staged\naside\n"] {
            fs::write(marker(&at("tithe.db")), text).unwrap();
            let refused = complete(&at("tithe.db")).unwrap_err().to_string();
            assert!(refused.contains("expected the names of two files"), "{text:?}: {refused}");
        }
        assert_eq!(fs::read_to_string(at("tithe.db")).unwrap(), "former");
    }

    #[test]
    fn until_it_has_begun_nothing_is_done() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tithe.db"), "former").unwrap();
        fs::write(folder.path().join("staged"), "new").unwrap();
        complete(&folder.path().join("tithe.db")).unwrap();
        assert_eq!(contents(folder.path()), [named("staged", "new"), named("tithe.db", "former")]);
    }
}
