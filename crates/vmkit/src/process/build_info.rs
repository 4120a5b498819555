//! Name and version of the build, as `-version`, the start-up log and `vm_app_version` show them.
//!
//! Dashboards select a job by a version that starts with the name of the application and compare releases by the
//! `vN.N.N` part, so both must be in the text.

/// Version of an application of this workspace, such as `vmauth-v0.1.0`.
pub fn version(app: &str) -> String {
    format!("{app}-v{}", env!("CARGO_PKG_VERSION"))
}

/// The part of a version of the form `v1.2.3`, with `-enterprise` and `-cluster` behind it if they follow; empty
/// without such a part.
pub fn short_version(version: &str) -> &str {
    version.match_indices('v').find_map(|(start, _)| short_version_at(&version[start..])).unwrap_or("")
}

fn short_version_at(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('v')?;
    for position in 0..3 {
        if position > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest = rest.get(digits..).filter(|_| digits > 0)?;
    }
    for suffix in ["-enterprise", "-cluster"] {
        rest = rest.strip_prefix(suffix).unwrap_or(rest);
    }
    text.get(..text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_start_with_the_application() {
        let version = version("vmauth");
        assert!(version.starts_with("vmauth-v"));
        assert_eq!(short_version(&version), format!("v{}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn short_versions() {
        let f = |version: &str, want: &str| assert_eq!(short_version(version), want);
        f("vmauth-20261121-101010-tags-v1.150.0-0-gabcdef", "v1.150.0");
        f("vmauth-v1.150.0-enterprise-cluster-x", "v1.150.0-enterprise-cluster");
        f("vmauth-v1.150.0-cluster", "v1.150.0-cluster");
        f("vmauth-v1.150.0-enterprise", "v1.150.0-enterprise");
        f("vmauth-v1.150", "");
        f("v1.2.v3.4.5é", "v3.4.5");
        f("v1..2", "");
        f("v10.20.30x", "v10.20.30");
        f("é v0.1.0 é", "v0.1.0");
        f("vé", "");
        f("", "");
    }
}
