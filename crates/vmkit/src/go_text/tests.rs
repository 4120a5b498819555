//! Tables of the text forms, and round trips.

use proptest::prelude::*;

use super::*;

#[test]
fn quotes_like_a_go_string() {
    let f = |input: &[u8], want: &str| assert_eq!(quote(input), want);
    f(b"", r#""""#);
    f(b"abc /?&=<>'", r#""abc /?&=<>'""#);
    f(br#"a"b\c"#, r#""a\"b\\c""#);
    f(b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#);
    f(b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#);
    f(b"a\xffb\xc3", r#""a\xffb\xc3""#);
    f("żółć 日本 😀".as_bytes(), "\"żółć 日本 😀\"");
    f("e\u{301}".as_bytes(), "\"e\u{301}\"");
    f("\u{301}".as_bytes(), "\"\u{301}\"");
    f("\u{fffd}".as_bytes(), "\"\u{fffd}\"");
    f("\u{85}\u{a0}\u{200b}\u{2028}\u{feff}\u{e000}".as_bytes(), r#""\u0085\u00a0\u200b\u2028\ufeff\ue000""#);
    f("\u{e0001}".as_bytes(), r#""\U000e0001""#);
}

#[test]
fn json_strings_escape_what_remote_addr_escapes() {
    let f = |input: &[u8], want: &str| {
        let mut out = Vec::new();
        push_json_string(&mut out, input);
        assert_eq!(std::str::from_utf8(&out).unwrap(), want);
        serde_json::from_slice::<String>(&out).unwrap();
    };
    f(b"127.0.0.1:43428, X-Forwarded-For: \"1.2.3.4", r#""127.0.0.1:43428, X-Forwarded-For: \"1.2.3.4""#);
    f(b"<a>&'b'", r#""\u003ca>&\u0027b\u0027""#);
    f(b"\\\n\r\t\x08\x0c\x01", r#""\\\n\r\t\b\f\u0001""#);
    f(b"\x7f\xff\xc3(", "\"\x7f\u{fffd}\u{fffd}(\"");
    f("é".as_bytes(), "\"é\"");
}

#[test]
fn json_text_keeps_angle_brackets() {
    let mut out = Vec::new();
    push_json_text(&mut out, b"<'\"\n");
    assert_eq!(out, br#""<'\"\n""#);
}

#[test]
fn numbers_are_plain_or_shortest() {
    let f = |value: f64, want: &str| {
        let mut out = Vec::new();
        push_f64(&mut out, value);
        assert_eq!(std::str::from_utf8(&out).unwrap(), want);
    };
    f(0.0, "0");
    f(-0.0, "0");
    f(-3.0, "-3");
    f(1_795_282_953.0, "1795282953");
    f(9_007_199_254_740_993.0, "9007199254740992");
    f(1e20, "100000000000000000000");
    f(1e21, "1e+21");
    f(0.5, "0.5");
    f(0.0001, "0.0001");
    f(0.000_001_172, "1.172e-06");
    f(0.000_01, "1e-05");
    f(1e-100, "1e-100");
    f(123_456.75, "123456.75");
    f(1_234_567.5, "1.2345675e+06");
    f(-0.000_02, "-2e-05");
    f(f64::NAN, "NaN");
    f(f64::INFINITY, "+Inf");
    f(f64::NEG_INFINITY, "-Inf");
}

#[test]
fn unquotes_what_is_a_literal() {
    let f = |input: &str, want: Option<&str>| assert_eq!(unquote(input).as_deref(), want, "{input}");
    f(r#""abc""#, Some("abc"));
    f(r#""a\"b\\\n\t\x41\101\u00e9\U0001f600""#, Some("a\"b\\\n\tAAé😀"));
    f("`a\\n`", Some("a\\n"));
    f(r#""\xc3\xa9""#, Some("é"));
    f(r#""\xff""#, None);
    f(r#""\400""#, None);
    f(r#""\x4""#, None);
    f(r#""\ud800""#, None);
    f(r#""\'""#, None);
    f(r#""a"b""#, None);
    f(r#""a\""#, None);
    f("\"", None);
    f("abc", None);
    f("", None);
}

#[test]
fn os_errors_are_lower_case_and_without_number() {
    let f = |error: io::Error, want: &str| assert_eq!(os_error(&error), want);
    f(io::Error::from_raw_os_error(111), "connection refused");
    f(io::Error::from_raw_os_error(98), "address already in use");
    f(io::Error::from_raw_os_error(2), "no such file or directory");
    f(io::Error::from_raw_os_error(104), "connection reset by peer");
    f(io::Error::from_raw_os_error(110), "connection timed out");
    f(io::Error::from(io::ErrorKind::TimedOut), "i/o timeout");
    f(io::Error::from(io::ErrorKind::UnexpectedEof), "EOF");
    f(io::Error::other("Own text"), "Own text");
    assert_eq!(lower_first("RPC struct is bad"), "RPC struct is bad");
    assert_eq!(lower_first(""), "");
}

proptest! {
    #[test]
    fn quoting_is_undone_by_unquoting(text in any::<String>()) {
        prop_assert_eq!(unquote(&quote(&text)), Some(text));
    }

    #[test]
    fn any_bytes_become_one_printable_line(bytes in any::<Vec<u8>>()) {
        let quoted = quote(&bytes);
        prop_assert!(quoted.chars().all(|c| !c.is_control()));
        let mut out = Vec::new();
        push_json_string(&mut out, &bytes);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).ok(), Some(String::from_utf8_lossy(&bytes).into_owned()));
    }

    #[test]
    fn numbers_read_back_the_same(value in any::<f64>()) {
        prop_assume!(value.is_finite());
        let mut out = Vec::new();
        push_f64(&mut out, value);
        prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap(), value);
    }
}
