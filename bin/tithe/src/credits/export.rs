//! Writing all installs to a file.

use crate::failure::{Failure, doing};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tithe_clock::{Entropy, SystemEntropy};
use tithe_engine::Engine;
use tithe_ledger::credits::Install;

/// How many installs are read at once.
const PAGE: usize = 1_000;

/// All installs. Servers may change them meanwhile: each is as it was at some moment of the export.
pub(crate) async fn all(engine: &Engine) -> Result<Vec<Install>, Failure> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = engine.credits.installs(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.id);
        all.extend(page);
    }
}

/// Writes installs to a file, or to the standard output.
pub(crate) fn write(installs: &[Install], output: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = output {
        replace(path, installs).map_err(doing(format!("cannot write {}", path.display())))?;
    } else {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write_text(&mut out, installs).map_err(doing("cannot write to the standard output"))?;
    }
    eprintln!("installs exported: {}", installs.len());
    let running = installs.iter().map(|install| install.lifetime.reserved + install.monthly.reserved);
    let running: u64 = running.sum();
    if running > 0 {
        eprintln!("running requests (not exported): {running}");
    }
    Ok(())
}

fn write_text(out: &mut impl Write, installs: &[Install]) -> std::io::Result<()> {
    tithe_relay_file::write(&mut *out, installs)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Replaces a file atomically with one that only its owner can read: the ids of installs are what proves them.
fn replace(path: &Path, installs: &[Install]) -> std::io::Result<()> {
    let draft = draft_of(path, &SystemEntropy);
    let written = write_draft(&draft, installs).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = written {
        let _may_not_exist = std::fs::remove_file(&draft);
        return Err(error);
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A name beside the file that nothing else has.
fn draft_of(path: &Path, entropy: &dyn Entropy) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(hex::encode(entropy.bytes::<8>()));
    PathBuf::from(name)
}

fn write_draft(draft: &Path, installs: &[Install]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::new(options.open(draft)?);
    write_text(&mut out, installs)?;
    out.get_ref().sync_all()
}
