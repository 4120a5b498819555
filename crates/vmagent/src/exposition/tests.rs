//! Lines and what they mean.

use proptest::prelude::*;

use super::*;

fn shown(line: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parser = LineParser::default();
    match parser.parse(line) {
        Line::Nothing => String::new(),
        Line::Invalid => "invalid".to_owned(),
        Line::Help { family, text: help } => format!("HELP {} {}", text(family), text(help)),
        Line::Type { family, kind } => format!("TYPE {} {}", text(family), kind.0),
        Line::Sample(sample) => {
            let labels: String =
                sample.labels().map(|(name, value)| format!("{}={:?},", text(name), text(value))).collect();
            let time = sample.timestamp_ms.map_or_else(String::new, |ms| format!(" @{ms}"));
            format!("{}{{{labels}}} {}{time}", text(sample.name()), sample.value)
        }
    }
}

#[test]
fn lines_and_blanks() {
    let f = |line: &str, want: &str| assert_eq!(shown(line.as_bytes()), want, "{line:?}");
    f("", "");
    f(" \t ", "");
    f("a 1", "a{} 1");
    f("  a \t 1  ", "a{} 1");
    f("a\t\t{x=\"y\"}\t4", "a{x=\"y\",} 4");
    f("a{ x = \"y\" , z=\"w\" , } 2", "a{x=\"y\",z=\"w\",} 2");
    f("a{\tx\t=\t\"y\"\t} 2", "a{x=\"y\",} 2");
    f("a{x=\"y\"}1", "a{x=\"y\",} 1");
    f("a{}2", "a{} 2");
    f("a{x=\"y\",}2", "a{x=\"y\",} 2");
    for bad in [
        "a{,} 3",
        "a{x=\"y\",,} 4",
        "a",
        "a ",
        "a{x=\"y\"}",
        "a\x0c1",
        "a 3\x0c",
        "a 1\rb 2",
        "a\u{a0}1",
        "a 1 2 3",
        "a{x=\"y\" 2",
        "a{x=\"y} 1",
        "a{x=y} 1",
        "a{x=y\"} 1",
        "a{x='y'} 1",
        "a{x} 1",
        "a{x \"y\"} 1",
        "a{x:\"y\"} 1",
        "a{x=\"y\" z=\"w\"} 1",
        "a{x=\"y\";z=\"w\"} 1",
        "a{x=\"y\"z=\"w\"} 1",
        "a{ 1",
        "a{{x=\"y\"}} 3",
        "a{x=\"y\"}} 3",
        "a foo",
        "a 1,5",
        "a 1;",
        "a 1 foo",
        "{x=\"y\"} 1",
        "{} 2",
        "4",
        "two words 3",
        "a # 4",
    ] {
        f(bad, "invalid");
    }
    assert_eq!(shown(b"\xff\xd8 {\"\0\x10"), "invalid");
    assert_eq!(shown(b"\x01\xfe\xff"), "invalid");
}

#[test]
fn names_and_labels() {
    let f = |line: &str, want: &str| assert_eq!(shown(line.as_bytes()), want, "{line:?}");
    f("a.b-c:d/é 1", "a.b-c:d/é{} 1");
    f("a\"b 9", "a\"b{} 9");
    f("\"a\" 1", "\"a\"{} 1");
    f("b} 2", "b}{} 2");
    f("a#b 1", "a#b{} 1");
    f("a{x.y=\"1\",x/y=\"2\",é=\"3\",x#y=\"4\"} 1", "a{x.y=\"1\",x/y=\"2\",é=\"3\",x#y=\"4\",} 1");
    f("a{=\"y\",x=\"\"} 1", "a{=\"y\",x=\"\",} 1");
    f("a{x=\"1\",x=\"2\"} 1", "a{x=\"1\",x=\"2\",} 1");
    f("a{x=\"} 1\"} 1", "a{x=\"} 1\",} 1");
    f("{\"a.b\"} 1", "a.b{} 1");
    f("{ \"a b\" , x=\"y\"} 1", "a b{x=\"y\",} 1");
    f("{x=\"y\",\"a.b\"} 1", "a.b{x=\"y\",} 1");
    f("a{\"x y\" = \"z\"} 1", "a{x y=\"z\",} 1");
    f("{\"a\\\"b\\n\"} 1", "a\"b\n{} 1");
    f("{\"# d\"} 6", "# d{} 6");
    for bad in ["a{\"b\"} 1", "{\"c\",\"d\"} 2", "{\"\"} 1", "{\"\",x=\"y\"} 2", "\"c d\" 3"] {
        f(bad, "invalid");
    }
}

#[test]
fn escapes() {
    let f = |value: &str, want: &str| {
        let line = format!("a{{x=\"{value}\",y=\"z\"}} 1");
        assert_eq!(shown(line.as_bytes()), format!("a{{x={want:?},y=\"z\",}} 1"), "{value}");
    };
    f("say \\\"hi\\\"", "say \"hi\"");
    f("c:\\\\dir\\\\n", "c:\\dir\\n");
    f("one\\ntwo", "one\ntwo");
    f("\\t\\d+\\x41", "\\t\\d+\\x41");
    f("\\\\", "\\");
    f("\\\\\\\"", "\\\"");
    assert_eq!(shown(b"d{x=\"y\\\"} 4"), "invalid");
    assert_eq!(shown(b"d{x=\"y\\"), "invalid");
}

#[test]
fn timestamps_comments_and_exemplars() {
    let f = |line: &str, want: &str| assert_eq!(shown(line.as_bytes()), want, "{line:?}");
    f("a 1 1700000000000", "a{} 1 @1700000000000");
    f("a 1 1700000000.5 # {trace_id=\"x\"} 0.5", "a{} 1 @1700000000500");
    f("a 8 # {trace_id=\"x\"} 0.5", "a{} 8");
    f("a{} 9# }{", "a{} 9");
    f("a{x=\"#\"}2#x", "a{x=\"#\",} 2");
    f("a 1 1700000000000# x", "a{} 1 @1700000000000");
    f("# EOF", "");
    f("#another", "");
    f("# HELP", "");
    f("# TYPE c", "");
    f("# TYPE b wrong", "");
    f(" # an indented one", "");
}

#[test]
fn metadata() {
    let f = |line: &str, want: &str| assert_eq!(shown(line.as_bytes()), want, "{line:?}");
    f("# HELP a The first metric.", "HELP a The first metric.");
    f("# HELP b   Many   blanks", "HELP b   Many   blanks");
    f("# HELP c Escapes \\\\ and \\n \\x", "HELP c Escapes \\ and \n \\x");
    f("# HELP d", "HELP d ");
    f("# TYPE a counter", "TYPE a 1");
    f("# TYPE a   gaugehistogram ", "TYPE a 4");
    f("# TYPE f untyped", "TYPE f 0");
    f("# TYPE k UNTYPED", "");
    f("# UNIT m seconds", "");
}

#[test]
fn the_text_of_a_series_is_the_series() {
    let mut parser = LineParser::default();
    let Line::Sample(sample) = parser.parse(b"  a {x=\"}\\\"\" , \"b\"=\"2\"} 5 # x") else { panic!() };
    let text = sample.series_text().to_vec();
    assert_eq!(text, b"a {x=\"}\\\"\" , \"b\"=\"2\"}");
    let mut other = LineParser::default();
    let series = other.parse_series(&text).unwrap();
    assert_eq!(series.name(), b"a");
    assert_eq!(series.labels().collect::<Vec<_>>(), [(&b"x"[..], &b"}\""[..]), (b"b", b"2")]);
    assert!(other.parse_series(b"a").is_some() && other.parse_series(b"{}").is_none());
}

proptest! {
    #[test]
    fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..80)) {
        shown(&line);
    }

    #[test]
    fn no_line_of_the_alphabet_panics(line in "[a{}\",= \\\\#n1.\\tHELPTYPE-]{0,40}") {
        shown(line.as_bytes());
    }

    #[test]
    fn what_is_written_by_the_rules_is_read(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
        labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,5}", any::<String>()), 0..4),
        value in any::<f64>(),
        time in proptest::option::of(2_147_483_648_i64..i64::from(u32::MAX) * 1000),
    ) {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let written: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let time_text = time.map_or_else(String::new, |time| format!(" {time}"));
        let line = format!("{name}{{{}}} {value}{time_text}", written.join(","));
        let mut parser = LineParser::default();
        let Line::Sample(sample) = parser.parse(line.as_bytes()) else { panic!("{line}") };
        prop_assert_eq!(sample.name(), name.as_bytes());
        let got: Vec<_> = sample.labels().collect();
        let want: Vec<_> = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        prop_assert_eq!(got, want);
        prop_assert!(sample.value == value || value.is_nan());
        prop_assert_eq!(sample.timestamp_ms, time);
    }
}
