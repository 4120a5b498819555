//! Values of several labels joined into the text that a rule looks at.

use std::borrow::Cow;

use crate::labels::LabelBuf;

/// Labels whose values are joined; a missing one is empty.
#[derive(Debug)]
pub(super) struct Sources {
    names: Box<[Box<[u8]>]>,
    separator: Box<[u8]>,
}

impl Sources {
    pub(super) fn new(names: &[String], separator: Option<&str>) -> Self {
        Self {
            names: names.iter().map(|name| name.as_bytes().into()).collect(),
            separator: separator.unwrap_or(";").as_bytes().into(),
        }
    }

    /// The values in order of the names.
    pub(super) fn values<'l>(&self, labels: &'l LabelBuf) -> impl Iterator<Item = &'l [u8]> {
        self.names.iter().map(|name| labels.get(name).unwrap_or_default())
    }

    /// The joined text; a single value is borrowed, others are put together in `joined`.
    pub(super) fn join<'l>(&self, labels: &'l LabelBuf, joined: &'l mut Vec<u8>) -> &'l [u8] {
        if let [only] = &*self.names {
            return labels.get(only).unwrap_or_default();
        }
        joined.clear();
        for (index, value) in self.values(labels).enumerate() {
            if index > 0 {
                joined.extend_from_slice(&self.separator);
            }
            joined.extend_from_slice(value);
        }
        joined
    }

    /// Whether all values are the same.
    pub(super) fn all_equal(&self, labels: &LabelBuf) -> bool {
        let mut values = self.values(labels);
        let first = values.next().unwrap_or_default();
        values.all(|value| value == first)
    }
}

/// Letters in upper or lower case; bytes that are no UTF-8 become replacement characters when there are letters to
/// change.
pub(super) fn change_case(text: &[u8], upper: bool) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Owned(if upper { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() });
    }
    let text = String::from_utf8_lossy(text);
    Cow::Owned(if upper { text.to_uppercase() } else { text.to_lowercase() }.into_bytes())
}
