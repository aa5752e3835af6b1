//! Which paths can be mounted.

use crate::openapi;
use std::collections::BTreeSet;
use tithe_engine::mounts::MountPath;

/// First segments that are this server's, beside those of its routes: pages, and what clients and other standards look for.
const RESERVED: [&str; 8] = [
    ".well-known",
    "docs",
    "favicon.ico",
    "llms.txt",
    "openapi-payable.json",
    "openapi.json",
    "robots.txt",
    "sitemap.xml",
];

/// Routes that cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMounts {
    /// The path begins like one of the server's own.
    #[error("path: expected another first segment than {segment:?}, which is the server's own, got {path:?}")]
    Reserved {
        /// The path.
        path: String,
        /// Its first segment.
        segment: String,
    },
    /// Two paths have paths in common.
    #[error("path: expected paths that do not overlap, got {one:?} and {other:?}")]
    Overlapping {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
}

/// Checks that routes can be mounted beside the server's own, and beside each other.
///
/// # Errors
/// [`InvalidMounts`], with the position of the first route that is wrong.
pub fn check_mounts(paths: &[MountPath]) -> Result<(), (usize, InvalidMounts)> {
    let own = own_segments();
    for (n, path) in paths.iter().enumerate() {
        let segment = path.first_segment();
        if own.contains(segment) {
            let (path, segment) = (path.to_string(), segment.to_owned());
            return Err((n, InvalidMounts::Reserved { path, segment }));
        }
        if let Some(other) = paths.iter().take(n).find(|other| other.overlaps(path)) {
            let (one, other) = (path.to_string(), other.to_string());
            return Err((n, InvalidMounts::Overlapping { one, other }));
        }
    }
    Ok(())
}

fn own_segments() -> BTreeSet<String> {
    let routes = openapi::document().paths.paths;
    let routes = routes.keys().filter_map(|path| path.split('/').nth(1)).map(str::to_owned);
    routes.chain(RESERVED.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(paths: &[&str]) -> Result<(), String> {
        let paths: Vec<MountPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
        check_mounts(&paths).map_err(|(n, wrong)| format!("{n}: {wrong}"))
    }

    #[test]
    fn no_route_of_the_servers_own_is_shadowed_and_none_of_another_mount() {
        assert_eq!(check(&["/paid/weather", "/paid/files/*", "/apis/x"]), Ok(()));
        for own in [
            "/api/weather",
            "/v1/x/*",
            "/docs",
            "/healthz",
            "/metrics",
            "/problems/x",
            "/dev/*",
            "/openapi.json",
            "/mcp",
        ] {
            let wrong = check(&["/paid/weather", own]).unwrap_err();
            assert!(wrong.starts_with("1: path: expected another first segment than "), "{own}: {wrong}");
        }
        assert_eq!(
            check(&["/paid/*", "/a", "/paid/weather"]).unwrap_err(),
            "2: path: expected paths that do not overlap, got \"/paid/weather\" and \"/paid/*\""
        );
    }
}
