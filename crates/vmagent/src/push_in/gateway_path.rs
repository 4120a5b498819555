//! Labels in paths as senders of Pushgateway write them: `…/metrics/job/NAME/LABEL/VALUE…`.

use base64::Engine;
use vmkit::go_text::quote;

/// Labels in order of the path.
pub(super) type Labels = Vec<(Vec<u8>, Vec<u8>)>;

/// The labels behind `/metrics`; `None` for a path that does not begin with a job, which is then ignored.
///
/// # Errors
/// The text for the client.
pub(super) fn parse(path: &str) -> Result<Option<Labels>, String> {
    let Some(rest) = path.strip_prefix("/metrics/").filter(|rest| rest.starts_with("job/") || rest.starts_with("job@"))
    else {
        return Ok(None);
    };
    let wrong = |reason: String| format!("cannot parse pushgateway-style labels from {}: {reason}", quote(path));
    let mut parts = rest.split('/');
    let mut labels = Labels::new();
    while let Some(name) = parts.next() {
        let value = parts.next().ok_or_else(|| wrong(format!("missing value for label {}", quote(name))))?;
        let (name, value) = match name.strip_suffix("@base64") {
            Some(name) => {
                let value = value.trim_end_matches('=');
                let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(value);
                let decoded = decoded.or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(value));
                (name, decoded.map_err(|_| wrong(format!("cannot base64-decode value for label {}", quote(name))))?)
            }
            None => (name, value.as_bytes().to_vec()),
        };
        if !value.is_empty() {
            labels.push((name.as_bytes().to_vec(), value));
        }
    }
    Ok(Some(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let f = |path: &str, want: Option<&[(&str, &str)]>| {
            let want = want.map(|pairs| {
                pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
            });
            assert_eq!(parse(path), Ok(want), "{path}");
        };
        f("/metrics/job/j1/instance/i1", Some(&[("job", "j1"), ("instance", "i1")]));
        f("/metrics/job/j1/path@base64/YS9i", Some(&[("job", "j1"), ("path", "a/b")]));
        f("/metrics/job/j1/x@base64/=", Some(&[("job", "j1")]));
        f("/metrics/job@base64/ag==", Some(&[("job", "j")]));
        f("/metrics/other/j1", None);
        f("", None);
        f("xyz", None);
    }

    #[test]
    fn wrong_paths() {
        assert!(parse("/metrics/job/j1/x").unwrap_err().contains("missing value for label \"x\""));
        assert!(parse("/metrics/job@base64/!!!").unwrap_err().contains("base64"));
    }
}
