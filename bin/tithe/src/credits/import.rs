//! Reading the file that is to be imported.

use crate::failure::{Failure, doing};
use std::io::Read;
use std::path::Path;
use tithe_clock::{Clock, SystemClock};
use tithe_relay_file::{RelayFile, RelayFileError};

/// Reads a file, or the standard input if its name is `-`.
pub(crate) fn read(file: &Path) -> Result<Result<RelayFile, RelayFileError>, Failure> {
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut text))
    };
    read.map_err(doing(format!("cannot read {}", file.display())))?;
    Ok(tithe_relay_file::read(text, SystemClock.now()))
}
