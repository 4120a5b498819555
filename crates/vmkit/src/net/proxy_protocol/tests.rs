//! Headers as load balancers send them, and everything that must be refused.

use super::*;
use proptest::prelude::*;

fn complete(length: usize, source: &str) -> Result<Parsed, ProxyProtocolError> {
    let source = if source.is_empty() { None } else { Some(source.parse().unwrap()) };
    Ok(Parsed::Complete { length, source })
}

/// A version 2 header with the given two bytes, announced length and block.
fn v2(version_command: u8, family_transport: u8, length: u16, block: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([version_command, family_transport]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(block);
    bytes
}

const IPV4: [u8; 12] = [1, 2, 3, 4, 10, 0, 0, 1, 0x16, 0x2e, 0, 80];

fn ipv6(source: &str) -> Vec<u8> {
    let mut block = source.parse::<Ipv6Addr>().unwrap().octets().to_vec();
    block.extend(Ipv6Addr::LOCALHOST.octets());
    block.extend([0x16, 0x2e, 0, 80]);
    block
}

#[test]
fn good_binary_headers() {
    let f = |bytes: Vec<u8>, want: Result<Parsed, ProxyProtocolError>| assert_eq!(parse(&bytes), want, "{bytes:x?}");
    f(v2(0x21, 0x11, 12, &IPV4), complete(28, "1.2.3.4:5678"));
    f(v2(0x21, 0x21, 36, &ipv6("2001:db8::1")), complete(52, "[2001:db8::1]:5678"));
    f(v2(0x21, 0x21, 36, &ipv6("::ffff:1.2.3.4")), complete(52, "1.2.3.4:5678"));
    // LOCAL carries whatever it likes.
    f(v2(0x20, 0x00, 0, b""), complete(16, ""));
    f(v2(0x20, 0x31, 4, b"abcd"), complete(20, ""));
    f(v2(0x20, 0x11, 12, &IPV4), complete(28, ""));
    f(v2(0x21, 0x00, 3, b"abc"), complete(19, ""));
    // TLVs behind the addresses, and the client's bytes behind the header.
    let mut long = IPV4.to_vec();
    long.resize(2048, 7);
    f(v2(0x21, 0x11, 2048, &long), complete(2064, "1.2.3.4:5678"));
    long.extend(b"GET / HTTP/1.1");
    f(v2(0x21, 0x11, 2048, &long), complete(2064, "1.2.3.4:5678"));
}

#[test]
fn bad_binary_headers() {
    let f = |bytes: Vec<u8>, want: ProxyProtocolError| assert_eq!(parse(&bytes), Err(want), "{bytes:x?}");
    f(v2(0x31, 0x11, 12, &IPV4), ProxyProtocolError::Version(3));
    f(v2(0x11, 0x11, 12, &IPV4), ProxyProtocolError::Version(1));
    f(v2(0x22, 0x11, 12, &IPV4), ProxyProtocolError::Command(2));
    f(v2(0x21, 0x12, 12, &IPV4), ProxyProtocolError::Transport(2));
    f(v2(0x21, 0x10, 12, &IPV4), ProxyProtocolError::Transport(0));
    f(v2(0x21, 0x31, 216, &[0; 216]), ProxyProtocolError::Family(3));
    f(v2(0x21, 0x01, 12, &IPV4), ProxyProtocolError::Family(0));
    f(v2(0x21, 0x11, 4, &IPV4), ProxyProtocolError::BlockTooShort { got: 4, want: 12 });
    f(v2(0x21, 0x21, 35, &[0; 36]), ProxyProtocolError::BlockTooShort { got: 35, want: 36 });
    f(v2(0x21, 0x11, 2049, b""), ProxyProtocolError::BlockTooLong(2049));
    f(v2(0x20, 0x11, 0xffff, b""), ProxyProtocolError::BlockTooLong(0xffff));
}

#[test]
fn good_lines() {
    let f = |line: &str, source: &str| assert_eq!(parse(line.as_bytes()), complete(line.len(), source), "{line:?}");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\n", "1.2.3.4:5678");
    f("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
    f("PROXY TCP6 2001:db8::1 ::1 5678 80\r\n", "[2001:db8::1]:5678");
    f("PROXY TCP6 ::ffff:1.2.3.4 ::1 5678 80\r\n", "1.2.3.4:5678");
    f("PROXY UNKNOWN\r\n", "");
    f("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "");
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_LEN - 16));
    assert_eq!(longest.len(), V1_MAX_LEN);
    f(&longest, "");
    assert_eq!(parse(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n"), complete(15, ""));
}

#[test]
fn bad_lines() {
    let f = |line: &str| assert_eq!(parse(line.as_bytes()), Err(ProxyProtocolError::MalformedLine), "{line:?}");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678\r\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80 9\r\n");
    f("PROXY TCP4 1.2.3.400 10.0.0.1 5678 80\r\n");
    f("PROXY TCP4 1.2.3.04 10.0.0.1 5678 80\r\n");
    f("PROXY TCP4 ::1 ::1 5678 80\r\n");
    f("PROXY TCP6 1.2.3.4 10.0.0.1 5678 80\r\n");
    f("PROXY TCP4 1.2.3.4  10.0.0.1 5678 80\r\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678 65536\r\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 +678 80\r\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 0678 80\r\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\n");
    f("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\rx");
    f("PROXY UDP4 1.2.3.4 10.0.0.1 5678 80\r\n");
    f("PROXY \r\n");
    f("PROXY UNKNOWNX\r\n");
    f(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_LEN - 15)));
    f(&"PROXY UNKNOWN ".repeat(9));
}

#[test]
fn other_protocols() {
    let f = |bytes: &[u8]| assert_eq!(parse(bytes), Err(ProxyProtocolError::NoSignature), "{bytes:x?}");
    f(b"GET / HTTP/1.1\r\n");
    f(b"POST");
    f(&[0x16, 3, 1]);
    f(b"PROXY\t");
    f(b"\r\n\r\n\0\r\nQUIT\r");
}

#[test]
fn every_beginning_waits_for_more() {
    let f = |whole: &[u8]| {
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Ok(Parsed::Incomplete), "{cut} bytes of {whole:x?}");
        }
    };
    f(&v2(0x21, 0x11, 12, &IPV4));
    f(&v2(0x21, 0x21, 36, &ipv6("2001:db8::1")));
    f(b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\n");
    f(b"PROXY UNKNOWN\r\n");
}

/// Bytes that get past the signatures.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let binary = (0x1fu8..0x24, prop_oneof![0u8..0x35, any::<u8>()], 0u16..2100, any::<bool>()).prop_map(
        |(version_command, family_transport, length, whole)| {
            let block = vec![0x41; if whole { usize::from(length) } else { usize::from(length) / 2 }];
            v2(version_command, family_transport, length, &block)
        },
    );
    let line = "PROXY (TCP4|TCP6|UNKNOWN|TCP)?[ 0-9a-f.:]{0,110}(\r|\n|\r\n)?.{0,5}".prop_map(String::into_bytes);
    prop_oneof![binary, line, proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn a_verdict_never_changes_with_more_bytes(bytes in headers(), cut in any::<prop::sample::Index>()) {
        let verdict = parse(&bytes);
        let begun = parse(&bytes[..cut.index(bytes.len() + 1)]);
        prop_assert!(begun == Ok(Parsed::Incomplete) || begun == verdict);
        if let Ok(Parsed::Complete { length, .. }) = verdict {
            prop_assert!(length <= bytes.len() && length <= MAX_HEADER_LEN);
            prop_assert_eq!(parse(&bytes[..length]), verdict);
        }
    }
}
