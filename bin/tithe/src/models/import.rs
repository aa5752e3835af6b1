//! `tithe models import`.

use super::diff::{self, Difference};
use super::genai_prices::{self, Imported, Provider};
use crate::failure::{Failure, doing};
use std::io::Write;
use std::path::Path;
use tithe_clock::{Clock, SystemClock, Timestamp};
use tithe_pricing::{Catalogue, Model};

/// Where the prices are written.
pub(super) struct Destination<'a> {
    pub(super) path: &'a Path,
    pub(super) may_replace: bool,
}

/// What an import does to a catalogue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    changed: Vec<(Model, Vec<Difference>)>,
    unchanged: usize,
    /// Models whose prices the file has in a way that a catalogue cannot have, with the reason.
    refused: Vec<(String, String)>,
    missing: Vec<String>,
}

/// Compares the prices in force with those of a file, prints the differences, and writes those models that change, together with the
/// operator's own, which the file that is written replaces.
pub(super) fn run(
    own: Option<&Path>,
    file: &Path,
    provider: Option<&str>,
    destination: Option<Destination<'_>>,
) -> Result<(), Failure> {
    let reading = || format!("cannot read the prices in {}", file.display());
    let json = std::fs::read_to_string(file).map_err(doing(reading()))?;
    let mut providers = genai_prices::read(&json).map_err(doing(reading()))?;
    if let Some(wanted) = provider {
        providers.retain(|provider| provider.id == wanted);
        if providers.is_empty() {
            return Err(format!("unknown provider: {} has no {wanted:?}", file.display()).into());
        }
    }
    let own = own.map(read_catalogue).transpose()?;
    let mut in_force = Catalogue::built_in();
    if let Some(own) = &own {
        in_force = in_force.overridden_by(own.clone());
    }
    let now = SystemClock.now();
    let comparison = compare(&in_force, &providers, provider.is_some(), now);
    print(&comparison);
    let Some(destination) = destination else {
        if !comparison.changed.is_empty() {
            println!("\nnothing is written; --write FILE writes these prices as a file for TITHE_MODELS");
        }
        return Ok(());
    };
    let changed = comparison.changed.into_iter().map(|(model, _)| model);
    let models = own.iter().flat_map(Catalogue::models).cloned().chain(changed);
    let day: String = now.to_string().chars().take(10).collect();
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let source = format!("genai-prices ({name}), and what this file replaces");
    let written = models.collect::<Catalogue>().dated(day, source);
    write(&destination, &written)
}

fn read_catalogue(path: &Path) -> Result<Catalogue, Failure> {
    let what = format!("cannot use the models in {} (TITHE_MODELS)", path.display());
    let text = std::fs::read_to_string(path).map_err(doing(what.clone()))?;
    Ok(Catalogue::parse(&text).map_err(doing(what))?)
}

/// A model is looked for at its vendor; if a provider was chosen, there.
fn compare(catalogue: &Catalogue, providers: &[Provider], chosen: bool, now: Timestamp) -> Comparison {
    let mut comparison = Comparison::default();
    for model in catalogue.models() {
        let mut sellers = providers.iter().filter(|provider| chosen || provider.is(&model.vendor));
        match sellers.find_map(|provider| provider.prices(&model.name, model.purpose, now)) {
            None => comparison.missing.push(model.name.clone()),
            Some(Err(reason)) => comparison.refused.push((model.name.clone(), reason)),
            Some(Ok(Imported { rates, changes })) => {
                let new = Model { rates, price_changes: changes, ..model.clone() };
                let differences = diff::between(model, &new, now);
                if differences.is_empty() {
                    comparison.unchanged += 1;
                } else {
                    comparison.changed.push((new, differences));
                }
            }
        }
    }
    comparison
}

fn print(comparison: &Comparison) {
    for (model, differences) in &comparison.changed {
        println!("{} ({}), dollars per million tokens:", model.name, model.vendor);
        for difference in differences {
            println!("  {difference}");
        }
    }
    for (model, reason) in &comparison.refused {
        println!("{model} stays as it is: {reason}");
    }
    let Comparison { changed, unchanged, refused, missing } = comparison;
    println!(
        "{} changed, {unchanged} unchanged, {} refused, {} not in the file",
        changed.len(),
        refused.len(),
        missing.len()
    );
}

fn write(destination: &Destination<'_>, catalogue: &Catalogue) -> Result<(), Failure> {
    let path = destination.path;
    let writing = format!("cannot write {}", path.display());
    if catalogue.models().next().is_none() {
        println!("nothing to write");
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if destination.may_replace {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path).map_err(|cause| -> Failure {
        if cause.kind() == std::io::ErrorKind::AlreadyExists {
            return format!("{} exists: --yes replaces it", path.display()).into();
        }
        doing(writing.clone())(cause).into()
    })?;
    file.write_all(catalogue.to_toml().as_bytes()).map_err(doing(writing))?;
    println!("written: {}; set TITHE_MODELS to it and restart the server", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
