//! Where name and labels are in the text of a series, so that a text that is met again need not be parsed again.
//!
//! Only texts as nearly all exporters write them have a layout: `name` or `name{a="b",c="d"}`, without blanks, escapes,
//! quoted names or a comma at the end, each part at most 255 bytes long. Then the lengths say everything: those of the
//! name, and of the name and the value of each label, a byte each.

use std::ops::Range;

/// The lengths of the parts of a series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesLayout<'a> {
    name_len: u8,
    /// Pairs.
    labels: &'a [u8],
}

impl<'a> SeriesLayout<'a> {
    /// What `write` has appended; `None` if that was nothing.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&name_len, labels) = bytes.split_first()?;
        Some(Self { name_len, labels })
    }

    /// Appends the layout of a series that ends at `end` and has its parts at these places; `None` is a part that
    /// stands elsewhere. Appends nothing if the text has no layout.
    pub(super) fn write(
        name: Option<Range<usize>>,
        labels: impl ExactSizeIterator<Item = Option<(Range<usize>, Range<usize>)>>,
        end: usize,
        out: &mut Vec<u8>,
    ) {
        let before = out.len();
        if Self::try_write(name, labels, end, out).is_none() {
            out.truncate(before);
        }
    }

    fn try_write(
        name: Option<Range<usize>>,
        labels: impl ExactSizeIterator<Item = Option<(Range<usize>, Range<usize>)>>,
        end: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let name = name.filter(|name| name.start == 0)?;
        let bare = labels.len() == 0;
        out.push(u8::try_from(name.len()).ok()?);
        let mut at = name.end;
        for label in labels {
            let (name, value) = label?;
            if name.start != at + 1 || value.start != name.end + 2 {
                return None;
            }
            out.push(u8::try_from(name.len()).ok()?);
            out.push(u8::try_from(value.len()).ok()?);
            at = value.end + 1;
        }
        (end == if bare { at } else { at + 1 }).then_some(())
    }

    /// Whether a line that begins with the text of this layout is a sample of that series, and not of one whose text
    /// only begins so. `rest` is what follows the text.
    pub fn ends_before(&self, rest: &[u8]) -> bool {
        // A brace ends a series; a name goes on up to a blank, and behind blanks there may be labels.
        !self.labels.is_empty() || matches!(rest, [b' ', next, ..] if !matches!(next, b' ' | b'\t' | b'{'))
    }

    pub(super) fn name_len(&self) -> usize {
        usize::from(self.name_len)
    }

    /// Lengths of name and value of each label.
    pub(super) fn labels(&self) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let (pairs, _) = self.labels.as_chunks::<2>();
        pairs.iter().map(|&[name, value]| (usize::from(name), usize::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Line, LineParser};
    use proptest::prelude::*;

    fn layout(series: &str) -> Option<Vec<u8>> {
        let (mut parser, mut out) = (LineParser::default(), Vec::new());
        parser.parse_series(series.as_bytes())?.write_layout(&mut out);
        Some(out).filter(|out| !out.is_empty())
    }

    /// What a line says, for comparison.
    fn said(line: Line<'_>) -> String {
        match line {
            Line::Sample(sample) => {
                let labels: Vec<_> = sample.labels().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                let text = (sample.name().to_vec(), labels, sample.series_text().to_vec());
                format!("{text:?} {:?} {:?}", sample.value.to_bits(), sample.timestamp_ms)
            }
            other => format!("{other:?}"),
        }
    }

    /// Whether the short way was taken; it must say what the long one does.
    fn agree(series: &str, line: &str) -> bool {
        let Some(bytes) = layout(series) else { return false };
        let layout = SeriesLayout::read(&bytes).unwrap();
        let Some(rest) = line.strip_prefix(series) else { return false };
        if !layout.ends_before(rest.as_bytes()) {
            return false;
        }
        let known = said(LineParser::default().parse_known(line.as_bytes(), layout));
        assert_eq!(known, said(LineParser::default().parse(line.as_bytes())), "{series} then {line}");
        true
    }

    #[test]
    fn only_plain_texts_have_one() {
        let long = "x".repeat(256);
        for plain in ["a", "a{b=\"c\"}", "a{b=\"\",c=\"d e,}\"}", "{b=\"c\",__name__=\"a\"}x"] {
            assert_eq!(layout(plain).is_some(), plain.starts_with('a'), "{plain}");
        }
        for other in [
            "a{}",
            "a {b=\"c\"}",
            "a{ b=\"c\"}",
            "a{b =\"c\"}",
            "a{b= \"c\"}",
            "a{b=\"c\" }",
            "a{b=\"c\",}",
            "a{b=\"\\n\"}",
            "a{\"b\"=\"c\"}",
            "{\"a\",b=\"c\"}",
            "a{b=\"c\",,d=\"e\"}",
            &format!("a{{b=\"{long}\"}}"),
            &long,
        ] {
            assert_eq!(layout(other), None, "{other}");
        }
        assert!(agree(&format!("a{{b=\"{}\"}}", "x".repeat(255)), &format!("a{{b=\"{}\"}} 1", "x".repeat(255))));
    }

    #[test]
    fn a_name_may_go_on() {
        assert!(agree("a", "a 1"));
        for line in ["ab 1", "a{b=\"c\"} 1", "a {b=\"c\"} 1", "a  {b=\"c\"} 1", "a\t1", "a", "a "] {
            assert!(!agree("a", line), "{line}");
        }
        for rest in ["", " ", "1", " 1", "  1 1700000000000", " 1 # {} 2", " 1 x", " x", "{} 1", "} 1"] {
            assert!(agree("a{b=\"c\"}", &format!("a{{b=\"c\"}}{rest}")), "{rest}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_says_the_same(
            name in "[a-c:]{1,3}", labels in prop::collection::vec(("[a-c]{1,2}", "[a-c,={} ]{0,3}"), 0..4), rest in "[ \t{}#,a1-9.=\"]{0,6}"
        ) {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let series = if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) };
            prop_assert!(layout(&series).is_some(), "{}", series);
            agree(&series, &format!("{series}{rest}"));
            let sample = format!("{series} 1");
            prop_assert!(agree(&series, &sample));
        }
    }
}
