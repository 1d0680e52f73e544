//! Versions of services, which are semantic versions (ADR-32), and what is required of them. The one file that names the
//! `semver` crate.

use std::fmt;

use semver::{Version, VersionReq};

use crate::values::text::CUT;

/// Maximum length of a wrong requirement that is printed, in characters.
const SHOWN: usize = 80;

/// Requirement on a version: `^1.4`, `~1.4.2`, `>=1.2, <2`. A bare `1.4` is `^1.4`.
///
/// As the crate and Cargo understand it: a pre-release matches only where the requirement names a pre-release of the same
/// three numbers, so `^1.4` and even `*` take no `1.5.0-rc.1`; what stands behind a `+` is the build, and does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement(VersionReq);

/// Result of comparing a version with a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Matches,
    /// Another version.
    Differs,
    /// There is none.
    Missing,
    /// No semantic version, like `1.2`, `v1.2.3` or `latest`.
    Malformed,
}

impl Requirement {
    /// # Errors
    ///
    /// The error, for the user who typed it.
    pub fn parse(text: &str) -> Result<Requirement, String> {
        VersionReq::parse(text).map(Requirement).map_err(|why| {
            let shown: String = text.chars().take(SHOWN).collect();
            format!("'{shown}' is no requirement on versions like ^1.4, ~1.4.2 or '>=1.2, <2': {why}")
        })
    }

    /// Returns `true` if a version, as it is kept of a reply, is as required.
    pub fn fit(&self, version: &str) -> Fit {
        match read(version) {
            _ if version.is_empty() => Fit::Missing,
            None => Fit::Malformed,
            Some(version) if self.0.matches(&version) => Fit::Matches,
            Some(_) => Fit::Differs,
        }
    }
}

/// A version that was too long to be kept whole is known as long as only its build was cut, which does not count.
fn read(version: &str) -> Option<Version> {
    let known = match (version.strip_suffix(CUT), version.split_once('+')) {
        (Some(_), Some((known, _))) => known,
        _ => version,
    };
    Version::parse(known).ok()
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::text::clean;

    fn fit(requirement: &str, version: &str) -> Fit {
        Requirement::parse(requirement).expect("a requirement").fit(version)
    }

    #[test]
    fn versions_are_matched_as_cargo_does() {
        let cases = [
            (
                "^1.4",
                "1.4.0 1.4.9 1.5.0 1.99.0 1.4.0+b",
                "1.3.9 2.0.0 0.1.4 1.4.0-rc.1 1.5.0-rc.1 2.0.0-rc.1",
            ),
            ("1.4", "1.4.0 1.5.0", "1.3.9 2.0.0"),
            ("=1.4", "1.4.0 1.4.7", "1.5.0 1.4.0-rc.1"),
            ("=1.4.2", "1.4.2 1.4.2+build.7", "1.4.3 1.4.2-rc.1"),
            // The build of a requirement does not count either.
            ("=1.4.2+a", "1.4.2 1.4.2+b", "1.4.3"),
            ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5.0"),
            (">=1.2, <2", "1.2.0 1.99.99", "1.1.9 2.0.0 2.0.0-rc.1 1.9.0-rc.1"),
            (">=1.2,<2", "1.2.0", "2.0.0"),
            ("^0.3", "0.3.0 0.3.9", "0.4.0 1.3.0"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("1.4.*", "1.4.0 1.4.9", "1.5.0"),
            ("*", "0.0.0 1.2.3 99.0.0", "1.2.3-rc.1"),
            // Pre-releases match only for the same three numbers, and are then compared in order.
            (
                ">=1.5.0-rc.2, <2",
                "1.5.0-rc.2 1.5.0-rc.10 1.5.0 1.6.0",
                "1.5.0-rc.1 1.5.0-beta 1.6.0-rc.3 1.4.0",
            ),
            ("=1.5.0-rc.2", "1.5.0-rc.2 1.5.0-rc.2+b", "1.5.0 1.5.0-rc.3"),
        ];
        for (requirement, matches, differs) in cases {
            for version in matches.split(' ') {
                assert_eq!(fit(requirement, version), Fit::Matches, "{requirement} {version}");
            }
            for version in differs.split(' ') {
                assert_eq!(fit(requirement, version), Fit::Differs, "{requirement} {version}");
            }
        }
    }

    #[test]
    fn invalid_version_matches_nothing() {
        let none = [
            "1",
            "1.2",
            "v1.2.3",
            "latest",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-01",
            "1.2.3 ",
            " 1.2.3",
            "-1.2.3",
            "1.2.x",
            "*",
            "1,2,3",
            "99999999999999999999.0.0",
            "１.2.3",
            "1.2.3-ä",
            "1.2.3+a+b",
            "1.2.3?rc",
            "NaN",
            "...",
            "+...",
            "1.2+...",
        ];
        for version in none {
            for requirement in ["*", "^1.2", ">=0.0.0"] {
                assert_eq!(fit(requirement, version), Fit::Malformed, "{requirement} {version}");
            }
        }
        assert_eq!(fit("*", ""), Fit::Missing);
    }

    #[test]
    fn a_version_that_was_cut_counts_as_far_as_it_is_known() {
        let commit = "c0ffee".repeat(30);
        let kept = |version: &str| clean(version, 64);
        assert_eq!(fit("^1.4", &kept(&format!("1.4.2+{commit}"))), Fit::Matches);
        assert_eq!(fit("^1.4", &kept(&format!("1.3.2+{commit}"))), Fit::Differs);
        assert_eq!(fit("^1.4", &kept(&format!("1.4.2-{commit}"))), Fit::Malformed);
        assert_eq!(fit(">=1.4.2-a", &kept(&format!("1.4.2-rc.1+{commit}"))), Fit::Matches);
        assert_eq!(fit("^1.4", &kept(&"1".repeat(99))), Fit::Malformed);
    }

    #[test]
    fn version_requirements_are_parsed_and_printed() {
        for (typed, told) in [
            ("^1.4", "^1.4"),
            ("1.4", "^1.4"),
            (" >= 1.2 , < 2 ", ">=1.2, <2"),
            ("1.*", "1.*"),
            ("x", "*"),
        ] {
            assert_eq!(Requirement::parse(typed).map(|r| r.to_string()), Ok(told.into()));
        }
        let long = format!("^{}", "1".repeat(500));
        let wide = vec![">=1"; 33].join(",");
        for bad in [
            "", " ", "^", "latest", "v1.2", ">=1.2 <2", "1.2 || 2", "1 - 2", "^1.4,", ",", "1.2.3.4", "=>1", &long,
            &wide,
        ] {
            let problem = Requirement::parse(bad).expect_err(bad);
            let shown: String = bad.chars().take(80).collect();
            assert!(
                problem.starts_with(&format!("'{shown}' is no requirement")),
                "{problem}"
            );
            assert!(problem.len() < 250, "{problem}");
        }
    }
}
