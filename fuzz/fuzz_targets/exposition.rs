//! Pages of targets in two pieces: no panic, and the same lines however the page is cut; the text of a series is a series,
//! and a series whose layout is known is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmagent::exposition::{Line, LineParser, LineSplitter, SeriesLayout};

fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let (mut splitter, mut parser, mut series) =
        (LineSplitter::default(), LineParser::default(), LineParser::default());
    let mut seen = Vec::new();
    let mut line = |line: &[u8]| {
        let parsed = parser.parse(line);
        if let Line::Sample(sample) = &parsed {
            let again = series.parse_series(sample.series_text()).expect("a series is read again");
            assert_eq!(again.name(), sample.name());
            assert!(again.labels().eq(sample.labels()));
            let mut layout = Vec::new();
            sample.write_layout(&mut layout);
            if let (Some(layout), Some(rest)) = (SeriesLayout::read(&layout), line.strip_prefix(sample.series_text()))
                && layout.ends_before(rest)
            {
                assert_eq!(format!("{:?}", series.parse_known(line, layout)), format!("{parsed:?}"));
            }
        }
        seen.push(format!("{parsed:?}"));
    };
    for piece in pieces {
        splitter.feed(piece, &mut line);
    }
    splitter.finish(&mut line);
    seen
}

fuzz_target!(|page: &[u8]| {
    let (cut, page) = page.split_first().map_or((0, page), |(first, page)| (usize::from(*first), page));
    let (head, tail) = page.split_at(cut.min(page.len()));
    assert_eq!(lines(&[page]), lines(&[head, tail]));
});
