//! Placeholders such as `{{.MetricsTenant}}` stand for values of a token's `vm_access` (docs/reference/auth.md).
//!
//! Only text of the config is ever searched for placeholders, and only when it is loaded; what a token or a client
//! brings is inserted and never read again. Values are encoded for the place they go to.

use std::ops::Range;

use jwt::VmAccess;

use super::percent;

/// All placeholders, in the order in which error texts list them.
pub const PLACEHOLDERS: [&str; 9] = [
    "{{.MetricsTenant}}",
    "{{.MetricsAccountID}}",
    "{{.MetricsProjectID}}",
    "{{.MetricsExtraLabels}}",
    "{{.MetricsExtraFilters}}",
    "{{.LogsAccountID}}",
    "{{.LogsProjectID}}",
    "{{.LogsExtraFilters}}",
    "{{.LogsExtraStreamFilters}}",
];

/// Text that announces a placeholder, known or not.
pub const PLACEHOLDER_PREFIX: &str = "{{";

/// One of [`PLACEHOLDERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the placeholders' names")]
pub enum Placeholder {
    MetricsTenant,
    MetricsAccountId,
    MetricsProjectId,
    MetricsExtraLabels,
    MetricsExtraFilters,
    LogsAccountId,
    LogsProjectId,
    LogsExtraFilters,
    LogsExtraStreamFilters,
}

/// The variants in the order of [`PLACEHOLDERS`].
const ALL: [Placeholder; 9] = [
    Placeholder::MetricsTenant,
    Placeholder::MetricsAccountId,
    Placeholder::MetricsProjectId,
    Placeholder::MetricsExtraLabels,
    Placeholder::MetricsExtraFilters,
    Placeholder::LogsAccountId,
    Placeholder::LogsProjectId,
    Placeholder::LogsExtraFilters,
    Placeholder::LogsExtraStreamFilters,
];

impl Placeholder {
    /// The placeholder that is exactly this text.
    pub fn of(text: &str) -> Option<Self> {
        PLACEHOLDERS.iter().position(|known| *known == text).and_then(|at| ALL.get(at).copied())
    }

    /// Its text, as in [`PLACEHOLDERS`].
    pub fn text(self) -> &'static str {
        ALL.iter().zip(PLACEHOLDERS).find(|(known, _)| **known == self).map_or("", |(_, text)| text)
    }

    /// Whether it stands for a list. Lists are not substituted in paths.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Self::MetricsExtraLabels
                | Self::MetricsExtraFilters
                | Self::LogsExtraFilters
                | Self::LogsExtraStreamFilters
        )
    }
}

/// Placeholders in a text, with their places.
pub fn find_placeholders(text: &str) -> impl Iterator<Item = (Range<usize>, Placeholder)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(from..)?;
            let start = from + rest.find(PLACEHOLDER_PREFIX)?;
            let tail = text.get(start..)?;
            if let Some(at) = PLACEHOLDERS.iter().position(|known| tail.starts_with(known)) {
                from = start + PLACEHOLDERS.get(at)?.len();
                return Some((start..from, *ALL.get(at)?));
            }
            from = start + 1;
        }
    })
}

/// Whether a text holds `{{` outside the known placeholders, which is an error in a path (docs/reference/config.md).
pub fn has_unknown_placeholder(text: &str) -> bool {
    let mut from = 0;
    let has = |part: Option<&str>| part.is_some_and(|part| part.contains(PLACEHOLDER_PREFIX));
    for (range, _) in find_placeholders(text) {
        if has(text.get(from..range.start)) {
            return true;
        }
        from = range.end;
    }
    has(text.get(from..))
}

/// The value of one placeholder.
enum Value<'a> {
    Id(u32),
    Tenant(u32, u32),
    List(&'a [String]),
}

fn value_of(values: &VmAccess, placeholder: Placeholder) -> Value<'_> {
    match placeholder {
        Placeholder::MetricsTenant => Value::Tenant(values.metrics_account_id, values.metrics_project_id),
        Placeholder::MetricsAccountId => Value::Id(values.metrics_account_id),
        Placeholder::MetricsProjectId => Value::Id(values.metrics_project_id),
        Placeholder::LogsAccountId => Value::Id(values.logs_account_id),
        Placeholder::LogsProjectId => Value::Id(values.logs_project_id),
        Placeholder::MetricsExtraLabels => Value::List(&values.metrics_extra_labels),
        Placeholder::MetricsExtraFilters => Value::List(&values.metrics_extra_filters),
        Placeholder::LogsExtraFilters => Value::List(&values.logs_extra_filters),
        Placeholder::LogsExtraStreamFilters => Value::List(&values.logs_extra_stream_filters),
    }
}

/// Why a request cannot be sent with the values of its token. It is the token's fault, never the backend's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// The header's value would hold a line end or another byte that is not allowed in it.
    #[error("invalid header field value for {header:?} from the token's vm_access claim")]
    IllegalHeaderValue {
        /// Name of the configured header.
        header: String,
    },
}

fn push_id(out: &mut Vec<u8>, id: u32) {
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
}

/// A path of the config with its placeholders, ready to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// Encoded text in front of each placeholder.
    parts: Vec<(Box<[u8]>, Placeholder)>,
    last: Box<[u8]>,
}

impl PathTemplate {
    /// Finds scalar placeholders in an encoded path; `None` if there are none. Everything else stays text.
    ///
    /// Escaped braces count too, since placeholders are looked for in the decoded path.
    pub(super) fn new(path: &str) -> Option<Self> {
        let (mut parts, mut text) = (Vec::new(), Vec::new());
        let mut rest = path.as_bytes();
        while let [byte, after @ ..] = rest {
            if let Some((placeholder, behind)) = scalar_at(rest) {
                parts.push((std::mem::take(&mut text).into(), placeholder));
                rest = behind;
            } else {
                percent::push_escaped(&mut text, std::slice::from_ref(byte), &percent::SHOWN_PATH);
                rest = after;
            }
        }
        (!parts.is_empty()).then(|| Self { parts, last: text.into() })
    }

    /// Appends the path; `without_slash` leaves out one slash at its end.
    pub(super) fn push(&self, out: &mut Vec<u8>, values: &VmAccess, without_slash: bool) {
        for (text, placeholder) in &self.parts {
            out.extend_from_slice(text);
            match value_of(values, *placeholder) {
                Value::Id(id) => push_id(out, id),
                Value::Tenant(account, project) => {
                    push_id(out, account);
                    out.push(b':');
                    push_id(out, project);
                }
                // Not found by `scalar_at`.
                Value::List(_) => {}
            }
        }
        let last = match self.last.strip_suffix(b"/") {
            Some(shorter) if without_slash => shorter,
            _ => &self.last,
        };
        out.extend_from_slice(last);
    }
}

/// A scalar placeholder at the start of an encoded path, and what follows it.
fn scalar_at(path: &[u8]) -> Option<(Placeholder, &[u8])> {
    if !matches!(path.first(), Some(b'{' | b'%')) {
        return None;
    }
    PLACEHOLDERS.iter().zip(ALL).filter(|(_, placeholder)| !placeholder.is_list()).find_map(|(known, placeholder)| {
        let mut rest = path;
        for want in known.bytes() {
            let (byte, width) = match percent::escape_at(rest) {
                Some(byte) => (Some(byte), 3),
                None => (rest.first().copied(), 1),
            };
            if byte != Some(want) {
                return None;
            }
            rest = rest.get(width..)?;
        }
        Some((placeholder, rest))
    })
}

/// A query argument of the config whose value is a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueryTemplate {
    /// Encoded name.
    pub(super) name: Box<[u8]>,
    pub(super) placeholder: Placeholder,
}

impl QueryTemplate {
    /// Appends `name=value` for each value, `separate` before each of them. An empty list appends nothing.
    pub(super) fn push(&self, out: &mut Vec<u8>, values: &VmAccess, mut separate: impl FnMut(&mut Vec<u8>)) {
        let mut start = |out: &mut Vec<u8>| {
            separate(out);
            out.extend_from_slice(&self.name);
            out.push(b'=');
        };
        match value_of(values, self.placeholder) {
            Value::Id(id) => {
                start(out);
                push_id(out, id);
            }
            Value::Tenant(account, project) => {
                start(out);
                push_id(out, account);
                out.extend_from_slice(b"%3A");
                push_id(out, project);
            }
            Value::List(list) => {
                for value in list {
                    start(out);
                    percent::push_form(out, value.as_bytes());
                }
            }
        }
    }
}

impl QueryTemplate {
    /// Appends the argument with the placeholder's own text as its value.
    pub(super) fn push_text(&self, out: &mut Vec<u8>, mut separate: impl FnMut(&mut Vec<u8>)) {
        separate(out);
        out.extend_from_slice(&self.name);
        out.push(b'=');
        percent::push_form(out, self.placeholder.text().as_bytes());
    }
}

/// A header of the config whose value is a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderTemplate {
    pub(super) name: Box<str>,
    pub(super) placeholder: Placeholder,
}

impl HeaderTemplate {
    /// Appends the value; lists are joined by commas, and an empty value means that there is no such header.
    pub(super) fn push_value(&self, out: &mut Vec<u8>, values: &VmAccess) -> Result<(), PlaceholderError> {
        let start = out.len();
        match value_of(values, self.placeholder) {
            Value::Id(id) => push_id(out, id),
            Value::Tenant(account, project) => {
                push_id(out, account);
                out.push(b':');
                push_id(out, project);
            }
            Value::List(list) => {
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        if is_header_value(out.get(start..).unwrap_or_default()) {
            return Ok(());
        }
        out.truncate(start);
        Err(PlaceholderError::IllegalHeaderValue { header: self.name.to_string() })
    }
}

/// Whether these bytes may be a header value (RFC 9110 §5.5): no control bytes but the tab.
pub(super) fn is_header_value(value: &[u8]) -> bool {
    value.iter().all(|b| (*b >= b' ' && *b != 0x7F) || *b == b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding() {
        let f = |text: &str, want: &[Placeholder], unknown: bool| {
            assert_eq!(find_placeholders(text).map(|found| found.1).collect::<Vec<_>>(), want, "{text}");
            assert_eq!(has_unknown_placeholder(text), unknown, "{text}");
        };
        f("", &[], false);
        f("/{{.MetricsTenant}}/x", &[Placeholder::MetricsTenant], false);
        f("{{.LogsAccountID}}:{{.LogsProjectID}}", &[Placeholder::LogsAccountId, Placeholder::LogsProjectId], false);
        f("{{ .MetricsTenant }}", &[], true);
        f("{{{.MetricsTenant}}}", &[Placeholder::MetricsTenant], false);
        f("{{.Foo}}{{.MetricsTenant}}", &[Placeholder::MetricsTenant], true);
        f("{{.MetricsTenant}}{{", &[Placeholder::MetricsTenant], true);
        for (text, placeholder) in PLACEHOLDERS.iter().zip(ALL) {
            assert_eq!(Placeholder::of(text), Some(placeholder));
        }
        assert_eq!(Placeholder::of("x{{.MetricsTenant}}"), None);
    }

    #[test]
    fn paths() {
        let values = VmAccess { metrics_account_id: 7, logs_project_id: 9, ..VmAccess::default() };
        let f = |path: &str, without_slash: bool, want: Option<&str>| {
            let got = PathTemplate::new(path).map(|template| {
                let mut out = Vec::new();
                template.push(&mut out, &values, without_slash);
                String::from_utf8(out).unwrap()
            });
            assert_eq!(got.as_deref(), want, "{path}");
        };
        f("/x", false, None);
        f("/{{.MetricsExtraLabels}}", false, None);
        f("/a/{{.MetricsTenant}}/", false, Some("/a/7:0/"));
        f("/a/{{.MetricsTenant}}/", true, Some("/a/7:0"));
        f("/a{{.MetricsAccountID}}b{{.LogsProjectID}}", true, Some("/a7b9"));
        f("/%7B%7B.MetricsTenant%7d}%2F", false, Some("/7:0%2F"));
        f("/{{.MetricsTenant}}/{{.LogsExtraFilters}}", false, Some("/7:0/%7B%7B.LogsExtraFilters%7D%7D"));
    }
}
