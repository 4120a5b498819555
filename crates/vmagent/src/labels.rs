//! Label sets: compact owned ones of targets, and the reusable buffer in which the labels of one sample are worked on.
//!
//! [`Labels`] is what discovery hands out and what a target keeps: sorted by name, one allocation for all texts.
//! [`LabelBuf`] is what scraping and relabeling change label by label; it keeps its memory from sample to sample, so
//! that a page of a million samples costs no allocation. Its names and values are bytes, because pages of targets
//! need not be UTF-8 and must come out as they came in.

mod label_buf;

use std::fmt;

pub use label_buf::LabelBuf;

/// A name and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<'a> {
    /// Name, such as `__address__` or `job`.
    pub name: &'a str,
    /// Value; may be empty.
    pub value: &'a str,
}

/// An immutable set of labels, sorted by the bytes of their names; each name occurs once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// Names and values back to back.
    text: Box<str>,
    /// Where each name and each value ends in `text`, in turn.
    ends: Box<[u32]>,
}

impl Labels {
    /// Sorts pairs by name. Of several pairs with one name the last counts.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        // Stable, so that the last of equal names is the last in its run.
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let size = pairs.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len()).sum();
        let (mut text, mut ends) = (String::with_capacity(size), Vec::with_capacity(pairs.len() * 2));
        for (index, (name, value)) in pairs.iter().enumerate() {
            if pairs.get(index + 1).is_some_and(|next| next.0.as_ref() == name.as_ref()) {
                continue;
            }
            for part in [name.as_ref(), value.as_ref()] {
                text.push_str(part);
                ends.push(offset(text.len()));
            }
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// The labels in order of their names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Label<'_>> + ExactSizeIterator {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value of a label, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let label = self.at(middle);
            match label.name.cmp(name) {
                std::cmp::Ordering::Equal => return Some(label.value),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn at(&self, index: usize) -> Label<'_> {
        let end = |part: usize| self.ends.get(part).map_or(0, |&end| end as usize);
        let start = index.checked_sub(1).map_or(0, |before| end(before * 2 + 1));
        let (middle, end) = (end(index * 2), end(index * 2 + 1));
        let part = |from: usize, to: usize| self.text.get(from..to).expect("BUG: ends are where texts were joined");
        Label { name: part(start, middle), value: part(middle, end) }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::from_pairs::<&str, &str>([])
    }
}

/// An offset in texts that are far below 4 GiB: configs, replies of discovery and pages have limits.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("BUG: labels are bounded by the limits of what they were read from")
}

/// `{a="b",c="d"}`, values quoted as in queries.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, label) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", label.name, vmkit::go_text::quote(label.value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_and_the_last_of_equal_names_counts() {
        let labels = Labels::from_pairs([("job", "j"), ("a", "1"), ("job", "k"), ("", "x"), ("b", "")]);
        let pairs: Vec<_> = labels.iter().map(|label| (label.name, label.value)).collect();
        assert_eq!(pairs, [("", "x"), ("a", "1"), ("b", ""), ("job", "k")]);
        assert_eq!(labels.to_string(), r#"{="x",a="1",b="",job="k"}"#);
        assert_eq!(labels, Labels::from_pairs([("a", "1"), ("", "x"), ("b", ""), ("job", "k")]));
        assert!(Labels::default().is_empty());
    }

    #[test]
    fn values_are_found_by_name() {
        let labels = Labels::from_pairs([("a", "1"), ("b", ""), ("é", "x\"y")]);
        let f = |name: &str, want: Option<&str>| assert_eq!(labels.get(name), want, "{name}");
        f("a", Some("1"));
        f("b", Some(""));
        f("é", Some("x\"y"));
        f("", None);
        f("c", None);
        f("z", None);
        assert_eq!(Labels::default().get("a"), None);
        assert_eq!(labels.to_string(), r#"{a="1",b="",é="x\"y"}"#);
    }
}
