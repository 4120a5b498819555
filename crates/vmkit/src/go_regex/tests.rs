//! Probes of Go's dialect. The expectations of `matches` and `refused` were recorded from Go's own `regexp` package.

use proptest::prelude::*;
use regex_syntax::hir::{Hir, Look};

use super::*;

fn compile(pattern: &str) -> GoRegex {
    GoRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern:?}: {error}"))
}

#[test]
fn invalid_utf8() {
    let f = |pattern: &str, text: &[u8], want: bool| {
        assert_eq!(compile(pattern).is_match(text), want, "{pattern:?} {text:?}");
    };
    f(".", b"\xff", true);
    f("...", b"\xff\xff\xff", true);
    f("..", b"\xe2\x82", true);
    f(".", b"\xe2\x82", false);
    f("/label/[^/]+/values", b"/label/\xff/values", true);
    f("/a/.*", b"/a/\xe9", true);
    f("a.b", b"a\xe9b", true);
    f("\u{FFFD}", b"\xff", true);
    f(r"a\x{FFFD}.*", b"a\xff\n", false);
    f(r"\w", b"\xff", false);
    f(r"\W", b"\xff", true);
    f("a", b"a\xff", false);
}

#[test]
fn named_groups_and_quoting_of_errors() {
    let f = |pattern: &str, want: bool| assert_eq!(GoRegex::new(pattern).is_ok(), want, "{pattern:?}");
    f("(?<n>a)", true);
    f("(?<a_1>a)", true);
    f("(?<n", false);
    f("(?<>a)", false);
    f("(?<=a)b", false);
    f("(?<!a)b", false);
    f(r"\p{letter}\p{Old_Persian}\p{old persian}", true);
    // What follows the parenthesis would escape the anchors.
    f("a)|(?:b", false);
    let error = |result: Result<GoRegex, GoRegexError>| result.unwrap_err().to_string();
    assert_eq!(error(GoRegex::new("/a[")), "error parsing regexp: missing closing ]: `[)$`");
    assert_eq!(error(GoRegex::new_bare("(")), "error parsing regexp: missing closing ): `(`");
    let bare = GoRegex::new_bare("a|bc").unwrap();
    assert!(bare.is_match(b"a") && bare.is_match(b"bc") && !bare.is_match(b"ac") && !bare.is_match(b"xa"));
}

#[test]
fn literals_are_not_patterns() {
    let literal = GoRegex::literal("a.c[");
    assert!(literal.is_match(b"a.c[") && !literal.is_match(b"abc["));
}

#[test]
fn simple_forms() {
    let f = |pattern: &str, want: bool| assert_eq!(compile(pattern).simple().is_some(), want, "{pattern:?}");
    for pattern in
        ["", "/", "/?", "/a", "^/a$", "/api/.*", "/api/.+", "/(a|b)/.*", "/node[12]/x", "/a|/b/.*", "/a(?:/.*)?"]
    {
        f(pattern, true);
    }
    for pattern in [".*a", "/a.*b", "[^/]+", r"\d+", "(?i)abcdefg", "a*", "/.*x?", "(?m)^a", "\u{FFFD}", "[a-z]"] {
        f(pattern, false);
    }
}

#[test]
fn limits() {
    let f = |pattern: &str, want: &str| {
        let error = GoRegex::new(pattern).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    f(&"(".repeat(5000), "expression nests too deeply");
    f(&format!("{}a{}", "(a|".repeat(400), ")".repeat(400)), "expression nests too deeply");
    f(&format!("{}a{}", "(".repeat(200), ")*b".repeat(200)), "expression nests too deeply");
    f(r"(?:\pL{100}\pN{100}){10}", "expression too large");
    f(&r"\pL".repeat(20_000), "expression too large");
    f(&"a".repeat(1 << 20), "expression too large");
    assert!(compile(".{1000}").is_match(&[b'x'; 1000]));
    assert!(!compile("(a|aa)+").is_match(format!("{}b", "a".repeat(20_000)).as_bytes()));
}

#[test]
fn matches() {
    let f = |pattern: &str, yes: &[&str], no: &[&str]| {
        let compiled = compile(pattern);
        for (texts, want) in [(yes, true), (no, false)] {
            for text in texts {
                assert_eq!(compiled.is_match(text.as_bytes()), want, "{pattern:?} {text:?}");
            }
        }
    };
    f("/a{b}", &["/a{b}"], &["/a{,3}", "Ab", "\u{663}"]);
    f("/a{", &["/a{"], &["/a{b}", "alpha", "a{1,2"]);
    f("/a{,3}", &["/a{,3}"], &["/a{b}", "-", "/a", "a.b"]);
    f("a{3}", &["aaa"], &["/a{,3}", "\t", "{1}", "abcd"]);
    f("a{2,}b", &["aaaaaaaaaaaaaaaaaaaaaaaaaaab"], &["/a{b}", "a{02}"]);
    f("a{2,3}", &["aa", "aaa"], &["/a{,3}", "ABC", "àb", "Σ"]);
    f("a{02}", &["a{02}"], &["/a{b}", "{}", "ǅ", "ǿ"]);
    f("a{1000}", &[], &["a{02}", "aaa", "\\", "/a/x"]);
    f("(a{100}){10}", &[], &["a{02}", "àb", "a", "1"]);
    f("(a{0}){5}", &[""], &["a{02}", "abc", "abcdx", "\x0b"]);
    f("x{2}?", &["xx"], &["a{02}", "é", "&", "Ab"]);
    f("[[]", &["["], &["]", "/node3/x", ".*", "/api/v1/"]);
    f("[a&&b]", &["a", "b", "&"], &["a&&b", "ſ"]);
    f("[a-z--b]", &["a", "b", "A", "\\", "9", "["], &["ab", "up{env=\"dev\"}", "/a{", "ǽ"]);
    f("[[.a.]]", &["a]"], &["a.b", "~", "abcdx", "\x0c"]);
    f(r"\<foo\>", &["<foo>"], &["foo", "aC", "/api/v1/x", "}"]);
    f(r"\d+", &["0", "9", "12", "1"], &["abcd", "{", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"]);
    f(r"\D", &["a", "b", "ǿ", "K", "[", "ǅ"], &["", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "<foo>"]);
    f(r"\s", &["\n", "\t", "\x0c", " "], &["s", "/a{,3}", "\u{663}", "/api/v1/x\ny"]);
    f(r"\S", &["a", "b", "9", "[", "c", "{"], &["STRASSE", "/bar/x", "\x0c", "/a/x"]);
    f(r"\w", &["a", "b", "y", "k", "d", "K"], &["\\", "~", "\u{ffff}", "/node1/x"]);
    f(r"\W", &["[", "&", "!", "*", "ü", "\x0b"], &["", "a..b", "9", "/api/v1/x"]);
    f(r"[\d-x]+", &["-", "0", "1", "12", "x5-", "xx"], &["/node1/x", "abc", "/a{,3}", "#"]);
    f(r"[\w.]+", &["a", "b", "alpha", "a.b", "ab", "abcd"], &["[", "/api/v1/x\ny", "Σ", "a{1"]);
    f(r"[^\W]+", &["a", "b", "y", "e", "0", "Ab"], &["[", "\n", "/", "/label/a/b/values"]);
    f(r"\Q.*\E+", &[".*"], &[".*.*", "&", "{}", "ǿ"]);
    f(r"a\Q\E*", &["", "a", "aa", "aaa"], &["ab", "/foo", "K", "..."]);
    f(r"\z", &[""], &["\\", "~", "{", "É"]);
    f(r"a\z", &["a"], &["ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "k", "a{1,"]);
    f(r"\A/a", &["/a"], &["/a{b}", "é", "A", "/api/v1/"]);
    f(r"\_", &["_"], &["\\", "/bar/x", "/api/v1/x\ny", "a{1,2"]);
    f(r"\-\/\.", &[], &["/a", "c", "bc"]);
    f(r"\101", &["A"], &["u0041", "_a1", "..."]);
    f(r"\0", &["\x00"], &["a{02}", "日本", "_a1", "\t"]);
    f(r"\07a", &["\x07a"], &["a{02}", "ac", "y", "a\nb"]);
    f(r"\777", &["ǿ", "ǿ"], &["\\", "STRAẞE", "Σ", "\t"]);
    f(r"\x41", &["A"], &["u0041", "x", "/foo", "ſ"]);
    f(r"\x{41}", &["A"], &["{1}", "/bar/x", "z", "a."]);
    f(r"\x{10FFFF}", &[], &["a{02}", "/a/x"]);
    f(r"[\x{d7ff}-\x{e000}]", &[], &["up{env=\"dev\"}", "bc", "}", "/a"]);
    f(r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &["straße", "a]", "y", "&"]);
    f("(?i)abc", &["abc", "ABC"], &["abcd", "abcdx", "alpha", "..."]);
    f("(?i)k", &["k", "K", "K"], &["/api/v1/", "É", "/b/\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"]);
    f("(?i)[k]", &["k", "K", "K"], &["[", "{1}", "A\n", "b-"]);
    f("(?i)[^k]", &["a", "b", "\u{ffff}", "&", " ", "ǿ"], &["k", "K", "{1}", "a\nb"]);
    f(r"(?i)\w", &["a", "b", "z", "ſ", "K", "s"], &["/api/v1/", "aa", ".*"]);
    f(r"(?i)\W", &["[", "&", "-", "α", "ǿ", "\x0c"], &["/api/v1/", "up{env=\"dev\"}", "http://h/x", "xfoo"]);
    f("(?i)[[:lower:]]", &["a", "b", "x", "e", "A", "s"], &["/node1/x", "/a", "ac", "/node3/x"]);
    f("(?i)ſ", &["s", "ſ"], &["ǿ", "a{,}", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "\u{ffff}"]);
    f(r"(?i)\pLu", &[], &["/api/v1/", "_", "", "ü"]);
    f("a(?i)b|c", &["c", "ab", "aB"], &["abc", "a{,}", "/node1/x"]);
    f("(a(?i)b)c", &["abc"], &["abcd", "bc", "/a{"]);
    f("(?i:a)b", &["ab", "Ab"], &["abc", "/api/v1/", " ", "k"]);
    f("(?-i)a", &["a"], &["/api/v1/", "*", "\u{fffd}"]);
    f("(?i-s:a.)", &["ab", "aa", "ac", "a]", "aB"], &["a.b", "\\", "A", "1"]);
    f("(?s).", &["a", "b", "*", "]", "α", "ſ"], &["...", "a{02}", "/api/v1/x", "a\nb"]);
    f("(?s:.)", &["a", "b", "\u{663}", "ǅ", "ſ", "#"], &["...", "\na"]);
    f(".", &["a", "b", "1", "A", "\\", "\t"], &["...", "a.", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "àb"]);
    f("(?m)^a$", &["a"], &["ab", "ſ", "a.", "A"]);
    f(r"(?m)a$\n^b", &["a\nb"], &["ab", "a\n", "K", "\u{663}"]);
    f("(?U)a+", &["a", "aa", "aaa"], &["ab", "/a{,3}", "a..b", "9"]);
    f("(?U)a+?", &["a", "aa", "aaa"], &["ab", "<foo>", ".*.*", "x5-"]);
    f("(?)a", &["a"], &["ab", ".*.*", "xx"]);
    f("(?P<n>a)", &["a"], &["<foo>", "http://h/x", "u0041", "Σ"]);
    f("(?P<n>a)(?P<n>b)", &["ab"], &["abc", "straße", "/b/\n", "É"]);
    f("(?P<1_a>a)", &["a"], &["_a1", "<foo>", "alpha", "ABC"]);
    f("(?:a|b)*c", &["c", "ac", "bc", "abc"], &["abcd", "a{1,2", "{}", "/a"]);
    f("(?:)", &[""], &["http://h/x", "\x00", "/foo", "/a/x"]);
    f("()", &[""], &["a", "\x0c", "ǿ", "xx"]);
    f("(|a)", &["", "a"], &["ab", "d", "a..b", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"]);
    f("(a|)*", &["", "a", "aa", "aaa"], &["ab", "a{1,", "!", "\na"]);
    f("|a", &["", "a"], &["ab", "日本", "Σ", "~"]);
    f("a|", &["", "a"], &["ab", "ǽ", "/label/a/values", "/node1/x"]);
    f("a||b", &["", "a", "b"], &["ab", ".*.*", "abcd"]);
    f("^*", &[""], &[".*", "α", "a&&b", "/node3/x"]);
    f("$*a", &["a"], &["ab", "c", "x5-", "abc"]);
    f("a+?", &["a", "aa", "aaa"], &["ab", "\t", "É", "9"]);
    f("a??", &["", "a"], &["ab", "\u{ffff}", "a&&b", "0"]);
    f("(a*)*", &["", "a", "aa", "aaa"], &["ab", "/", "/api/v1/x\ny", "/a{b}"]);
    f("(a+)+b", &["ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"], &["abc", "Ab", "9", "-"]);
    f("[]a]", &["a", "]"], &["a]", "/", "abcdx", "\t"]);
    f("[^]a]", &["b", "k", "ǅ", "d", "&", "/"], &["a]", "/b/\n"]);
    f("[a-]", &["a", "-"], &["a]", "{1}", "\x00", "aa"]);
    f("[-a]", &["a", "-"], &["a]", "abc", "a\nb", "aaa"]);
    f("[a-c-e]", &["a", "b", "c", "e", "-"], &["abc", "alpha", "a]", "&"]);
    f(r"[\]]", &["]"], &["[", "abcd", "abcdx", "/bar/x"]);
    f(r"[\d-\w]", &["a", "b", "k", "s", "0", "d"], &["[", ":", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "a]"]);
    f("[[:alpha:]]+", &["a", "b", "y", "abcd", "abc", "abcdx"], &["http://h/x", " ", "/bar/", "/bar/x"]);
    f("[[:^alpha:]]", &["[", "&", "{", "\u{fffd}", "ǿ"], &["alpha", "bc", "abcdx", "/b/\n"]);
    f("[[:alpha]", &["a", "[", ":"], &["alpha", "/a/x", "STRAẞE"]);
    f("[:alpha:]", &["a", ":"], &["alpha", "straße", "\u{fffd}"]);
    f("[[:word:]]", &["a", "b", "e", "z", "1", "x"], &["/node1/x", "/a{,3}", "a..b", "a{1"]);
    f("[[:space:]]", &["\n", "\t", "\x0c", " ", "\x0b"], &["/label/a/values", ":", "alpha", "a\n"]);
    f("[^[:space:]]", &["a", "b", "/", "{", "e", "A"], &["/label/a/values", "a{1,2", "/a", ".*"]);
    f("[[:punct:]]+", &["[", "&", "-", ".*", "{", "*"], &["http://h/x", "aC", "/bar/", "K"]);
    f("[[:graph:]]", &["a", "b", "~", "e", "]", "*"], &["http://h/x", "aB", "a.b", "\x07a"]);
    f("[[:cntrl:]]", &["\n", "\t", "\x00", "\x0b", "\x0c"], &["http://h/x", "α", "foofoo", "z"]);
    f("[[:xdigit:]]+", &["a", "b", "Ab", "aB", "d", "A"], &["http://h/x", "\\", "日本", "{1}"]);
    f(r"[^\x00-\x{10FFFF}]", &[], &["a{02}", "ſ", "a{1,2", "K"]);
    f("[^a]", &["b", "k", "#", "e", "ſ", "1"], &["a]", "/a{,3}", "/node3/x", "\x07a"]);
    f(r"\pL", &["a", "b", "ǿ", "K", "ǅ", "ǽ"], &["/api/v1/", "a{,}", "}", "\u{ffff}"]);
    f(r"\p{L}", &["a", "b", "ü", "c", "Σ", "s"], &["up{env=\"dev\"}", "\x00", "ac", "ab"]);
    f(r"\PL", &["[", "&", "\"", "0", "\\", "-"], &["", "x5-", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "d"]);
    f(r"\p{^L}", &["[", "&", "*", "{", "#", "1"], &["up{env=\"dev\"}", "<foo>", "ǿ"]);
    f(r"\P{^L}", &["a", "b", "ǽ", "K", "c", "ǿ"], &["/a{b}", "a{1,", "a.", "STRASSE"]);
    f(r"\p{Greek}", &["Σ", "α"], &["up{env=\"dev\"}", "\\", "K", "s"]);
    f(r"[\p{Lu}\d]+", &["K", "0", "Σ", "9", "K", "STRAẞE"], &["up{env=\"dev\"}", "/node3/x", "a{,}", "\u{fffd}"]);
    f(r"\p{Lt}", &["ǅ"], &["up{env=\"dev\"}", "u0041", "9", "/api/v1/"]);
    f(r"\p{Any}", &["a", "b", "ǽ", "#", "/", "\u{fffd}"], &["up{env=\"dev\"}", "/b/\n", "a{,}", ""]);
    f(r"\bfoo\b", &["foo"], &["<foo>", "\u{663}", " ", "a."]);
    f(r"\b\w+\b", &["a", "b", "foofoo", "alpha", "Ab", "foo"], &["/a{b}", "É", "ü"]);
    f(r"\Ba", &[], &["aB", "/label/a/values", "\n", "z"]);
    f(r"\b", &[], &["b", " ", "\x0b", "..."]);
    f(r"a\b.", &["a]", "a."], &["a.b", "s", "{", "_a1"]);
    f("/api/v1/.*", &["/api/v1/", "/api/v1/x"], &["/api/v1/x\ny", "_", "1", "xx"]);
    f("/api/v1/.+", &["/api/v1/x"], &["/api/v1/", "a&&b", "\x0b", "k"]);
    f("/(a|b)/.*", &["/a/", "/a/x"], &["/a{b}", "aaa", "\t", "a{1,"]);
    f("/node[12]/x", &["/node1/x"], &["/node3/x", "aC", "/api/v1/x\ny", "aaaaaaaaaaaaaaaaaaaaaaaaaaab"]);
    f("/?", &["", "/"], &["/a", "a{02}", "b"]);
    f("^/foo$", &["/foo"], &["foo", "Σ", "/api/v1/x\ny", "abcd"]);
    f("^^/foo$$", &["/foo"], &["foo", "straße", "α", "}"]);
    f("/foo|/bar/.*", &["/foo", "/bar/", "/bar/x"], &["/a{b}", "a\nb", "y"]);
    f(".*", &["", "a", "z", "-a", "abcd"], &["\n", "\x07\x0c\n\r\t\x0b", "/api/v1/x\ny"]);
    f(".+", &["a", "b", "straße", " ", "Σ"], &["", "a\n", "/api/v1/x\ny"]);
    f(".*foo", &["foo", "/foo", "foofoo", "xfoo"], &["<foo>", "ac", "日本", "ABC"]);
    f(
        "a.*b",
        &["ab", "a.b", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "a..b", "a&&b"],
        &["abc", "/bar/", "\x07\x0c\n\r\t\x0b", "ac"],
    );
    f("http://[^/]+/x", &["http://h/x"], &["/api/v1/x", "aB", "foofoo", "\n"]);
    f("[^/]+", &["a", "b", "x", ".*.*", "k"], &["/a", "/a{", ""]);
    f("/label/[^/]+/values", &["/label/a/values"], &["/label/a/b/values", "{", "/a/", "\u{fffd}"]);
    f(r#".*{.*env="dev".*}.*"#, &["up{env=\"dev\"}"], &["/node1/x", "É", "{", "-"]);
    f("é+", &["é"], &["É", "", "a{1,2"]);
    f("[é-ü]", &["é", "ü"], &["[", "ffAA09", "/a/", "/b/\n"]);
    f("日本", &["日本"], &["", "é", "A\n", "abcd"]);
    f("a{,}", &["a{,}"], &["/a{,3}", "\na", "/foo", "a..b"]);
    f("{", &["{"], &["/a{b}", "ab", "xfoo", "/api/v1/x\ny"]);
    f("{}", &["{}"], &["/a{b}", "x5-", "_", "a{1,"]);
    f("a{1", &["a{1"], &["a{1,", "aaa", "http://h/x", "Σ"]);
    f("a{1,", &["a{1,"], &["a{1,2", "/a/", "\""]);
    f("a{1,2", &["a{1,2"], &["a{1,", "d", "xx", "a&&b"]);
    f("}", &["}"], &["/a{b}", "xfoo", "Σ"]);
    f("]", &["]"], &["a]", "aaaaaaaaaaaaaaaaaaaaaaaaaaab", "ǽ"]);
    f("a]", &["a]"], &["a", "#", "a{1,", "0"]);
    f(r"\\", &["\\"], &["", "alpha", "/a{b}", "u0041"]);
    f(r"\/", &["/"], &["/a", "\t", "ǿ", "abcd"]);
    f(r#"\""#, &["\""], &["up{env=\"dev\"}", "ac", "aB"]);
    f(r#"""#, &["\""], &["up{env=\"dev\"}", "a\nb", "/api/v1/x", "z"]);
    f("#", &["#"], &["", "b", "ac", "k"]);
    f(" ", &[" "], &["", "aC", "abc", "a{1,"]);
    f("(?i)ÀB", &["àb"], &["ABC", "a]", "/bar/"]);
    f("(?:(?i)a)b", &["ab", "Ab"], &["abc", "*", "ǿ"]);
    f("(?is)A.", &["ab", "aa", "aB", "ac", "Ab", "a]"], &["ABC", "K", "\n", "abcdx"]);
    f(r"\x{ffff}", &["\u{ffff}"], &["/a{b}", "x5-", "\x0b", "bc"]);
    f(r"\x{FFFD}", &["\u{fffd}"], &["/a{b}", "{1}", "_", "#"]);
    f("(a|ab)(c|bcd)", &["ac", "abc", "abcd"], &["abcdx", "...", "y", "STRASSE"]);
    f("x*", &["", "x", "xx"], &["x5-", "b", "aB", "ab"]);
    f("x{0}", &[""], &["a{02}", "a.", "a&&b", "a{1"]);
    f("x{0,0}y", &["y"], &["/a{,3}", "1", "ǿ", "a\n"]);
    f("x{1,1}", &["x"], &["/a{,3}", "abcd", "\u{fffd}"]);
    f("(?i)straße", &["straße", "STRAẞE"], &["/label/a/values", "α", "http://h/x"]);
}

#[test]
fn refused() {
    let f = |pattern: &str, want: &str| {
        let error = GoRegex::new(pattern).unwrap_err().to_string();
        assert_eq!(error, format!("error parsing regexp: {want}"), "{pattern:?}");
    };
    f("a{3,2}", "invalid repeat count: `{3,2}`");
    f("a{1001}", "invalid repeat count: `{1001}`");
    f("a{99999999999}", "invalid repeat count: `{99999999999}`");
    f("a{1,99999999999}", "invalid repeat count: `{1,99999999999}`");
    f("(a{100}){11}", "invalid repeat count: `{11}`");
    f("((a{10}){10}){11}", "invalid repeat count: `{11}`");
    f("x{2}{3}", "invalid nested repetition operator: `{2}{3}`");
    f("x{2}?{3}", "invalid nested repetition operator: `{2}?{3}`");
    f(r"\Qa.b", r"missing closing ): `^(?:\Qa.b)$`");
    f(r"\Q\E*", "missing argument to repetition operator: `*`");
    f(r"a\Z", r"invalid escape sequence: `\Z`");
    f(r"\e", r"invalid escape sequence: `\e`");
    f(r"\h", r"invalid escape sequence: `\h`");
    f(r"\C", r"invalid escape sequence: `\C`");
    f(r"\1", r"invalid escape sequence: `\1`");
    f(r"\18", r"invalid escape sequence: `\1`");
    f(r"(a)\1", r"invalid escape sequence: `\1`");
    f(r"\x4", r"invalid escape sequence: `\x4)`");
    f(r"\x{}", r"invalid escape sequence: `\x{}`");
    f(r"\x{110000}", r"invalid escape sequence: `\x{110000`");
    f(r"\u0041", r"invalid escape sequence: `\u`");
    f(r"\y", r"invalid escape sequence: `\y`");
    f(r"\é", r"invalid escape sequence: `\é`");
    f("(?x)a", "invalid or unsupported Perl syntax: `(?x`");
    f("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`");
    f("(?-)a", "invalid or unsupported Perl syntax: `(?-)`");
    f("(?--i)a", "invalid or unsupported Perl syntax: `(?--`");
    f("(?i", "missing closing ): `^(?:(?i)$`");
    f("(?P<n", "invalid named capture: `(?P<n)$`");
    f("(?P<a-b>a)", "invalid named capture: `(?P<a-b>`");
    f("(?P=n)", "invalid or unsupported Perl syntax: `(?P`");
    f("(?P>n)", "invalid or unsupported Perl syntax: `(?P`");
    f("(?#c)a", "invalid or unsupported Perl syntax: `(?#`");
    f("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
    f("(?!a)", "invalid or unsupported Perl syntax: `(?!`");
    f("(?>a)", "invalid or unsupported Perl syntax: `(?>`");
    f("*", "missing argument to repetition operator: `*`");
    f("+a", "missing argument to repetition operator: `+`");
    f("?", "missing argument to repetition operator: `?`");
    f("a|*", "missing argument to repetition operator: `*`");
    f("(*)", "missing argument to repetition operator: `*`");
    f("a**", "invalid nested repetition operator: `**`");
    f("a++", "invalid nested repetition operator: `++`");
    f("a*+", "invalid nested repetition operator: `*+`");
    f("a???", "invalid nested repetition operator: `???`");
    f("a*?*", "invalid nested repetition operator: `*?*`");
    f("(", "missing closing ): `^(?:()$`");
    f(")", "unexpected ): `^(?:))$`");
    f("a)", "unexpected ): `^(?:a))$`");
    f("(a", "missing closing ): `^(?:(a)$`");
    f("((a)", "missing closing ): `^(?:((a))$`");
    f(r"a\", r"missing closing ): `^(?:a\)$`");
    f("[", "missing closing ]: `[)$`");
    f("[a", "missing closing ]: `[a)$`");
    f("[]", "missing closing ]: `[])$`");
    f("[z-a]", "invalid character class range: `z-a`");
    f(r"[a-\d]", r"invalid escape sequence: `\d`");
    f("[[:foo:]]", "invalid character class range: `[:foo:]`");
    f(r"\p{IsGreek}", r"invalid character class range: `\p{IsGreek}`");
    f(r"\p{Foo}", r"invalid character class range: `\p{Foo}`");
    f(r"\p{L", r"invalid character class range: `\p{L)$`");
    f(r"\p", r"invalid character class range: `\p)`");
    f(r"\pX", r"invalid character class range: `\pX`");
    f("{1}", "missing argument to repetition operator: `{1}`");
}

/// Patterns made of pieces that have a meaning.
fn pattern() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "a",
        "b",
        "/",
        ".",
        ".*",
        ".+",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "(?:",
        "[",
        "[^",
        "]",
        "-",
        "{2}",
        "{0,1}",
        "{",
        "}",
        r"\d",
        r"\W",
        r"\b",
        "^",
        "$",
        "(?i)",
        "(?s)",
        r"\Q",
        r"\E",
        r"\x41",
        "[:alpha:]",
        "é",
        r"\pL",
        "k",
        "[a-c]",
        "[^/]+",
        "/api",
        "\n",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn never_panics(pattern in any::<String>(), text in any::<Vec<u8>>()) {
        if let Ok(pattern) = GoRegex::new(&pattern) {
            pattern.is_match(&text);
        }
        let _ = GoRegex::new_bare(&pattern);
    }

    /// The comparison of bytes and the automaton answer alike.
    #[test]
    fn simple_forms_are_equal_to_programs(pattern in pattern(), text in r"[ab/kK.é\n]{0,5}") {
        if let (Ok(compiled), Ok(inner)) = (GoRegex::new(&pattern), parser::parse_wrapped(&pattern, Reading::default())) {
            let hir = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
            let program = build(&[hir], PROGRAM_LIMIT).unwrap();
            prop_assert_eq!(compiled.is_match(text.as_bytes()), program.is_match(&text), "{:?} {:?}", pattern, text);
        }
    }
}
