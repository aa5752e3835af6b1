//! Which checks run.

use super::check::{Area, Check};
use std::collections::HashSet;

/// The checks that run, and those that are skipped.
pub(super) struct Selection {
    /// `None` means all.
    only: Option<HashSet<&'static str>>,
    skip: HashSet<&'static str>,
}

/// A name that neither a check nor an area has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown check: expected a name that `tithe selftest --list` prints, got {0:?}")]
pub(super) struct UnknownCheck(String);

impl Selection {
    /// Selects by the names of checks and areas. What a selected check needs is selected too.
    pub(super) fn new(areas: &[Area], only: &[String], skip: &[String]) -> Result<Self, UnknownCheck> {
        let skip = named(areas, skip)?.iter().map(|check| check.name).collect();
        if only.is_empty() {
            return Ok(Self { only: None, skip });
        }
        let mut selected = HashSet::new();
        let mut waiting: Vec<&Check> = named(areas, only)?;
        while let Some(check) = waiting.pop() {
            if selected.insert(check.name) {
                let needed = all(areas).filter(|other| check.needs.contains(&other.name));
                waiting.extend(needed);
            }
        }
        Ok(Self { only: Some(selected), skip })
    }

    /// Whether a check is run, or at least named as skipped.
    pub(super) fn runs(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    pub(super) fn skips(&self, name: &str) -> bool {
        self.skip.contains(name)
    }
}

fn all(areas: &[Area]) -> impl Iterator<Item = &Check> {
    areas.iter().flat_map(|area| &area.checks)
}

/// The checks with these names, or of areas with these names.
fn named<'a>(areas: &'a [Area], names: &[String]) -> Result<Vec<&'a Check>, UnknownCheck> {
    let mut found = Vec::new();
    for name in names {
        let of_name = areas.iter().flat_map(|area| {
            area.checks.iter().filter(|check| area.name == name.as_str() || check.name == name.as_str())
        });
        let before = found.len();
        found.extend(of_name);
        if found.len() == before {
            return Err(UnknownCheck(name.clone()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::check::{Area, Check};
    use super::*;
    use futures_util::FutureExt;

    fn areas() -> Vec<Area> {
        let check =
            |name, needs| Check::new(name, "something", |_| async { Ok(()) }.boxed_local()).after(needs);
        vec![
            Area { name: "first", section: "", checks: vec![check("a", &[]), check("b", &["a"])] },
            Area { name: "second", section: "", checks: vec![check("c", &["b"]), check("d", &[])] },
        ]
    }

    fn selected(
        only: &[&str],
        skip: &[&str],
    ) -> Result<(Vec<&'static str>, Vec<&'static str>), UnknownCheck> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let areas = areas();
        let selection = Selection::new(&areas, &owned(only), &owned(skip))?;
        let names = || all(&areas).map(|check| check.name);
        let runs = names().filter(|name| selection.runs(name)).collect();
        Ok((runs, names().filter(|name| selection.skips(name)).collect()))
    }

    #[test]
    fn what_a_selected_check_needs_is_selected_too() {
        assert_eq!(selected(&[], &[]), Ok((vec!["a", "b", "c", "d"], vec![])));
        assert_eq!(selected(&["c"], &[]), Ok((vec!["a", "b", "c"], vec![])));
        assert_eq!(selected(&["d"], &["a"]), Ok((vec!["d"], vec!["a"])));
        assert_eq!(selected(&["first"], &["second"]), Ok((vec!["a", "b"], vec!["c", "d"])));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        for (only, skip) in [(&["e"][..], &[][..]), (&[], &["e"]), (&["a", ""], &[])] {
            assert!(selected(only, skip).is_err(), "{only:?} {skip:?}");
        }
    }
}
