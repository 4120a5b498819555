//! Our HTTP/1 codec against hyper: whatever ours accepts, hyper accepts with the same meaning and the same boundaries;
//! runs of blanks in status lines are the one exception.
//!
//! Ours may refuse more. What it may refuse is listed in `may_be_refused`, and `probes` pins single cases of both
//! kinds. More cases: `PROPTEST_CASES=100000 cargo test -p vmkit --test codec_oracle`.

#![allow(clippy::unwrap_used, reason = "a test helper that fails fails the test")]

#[path = "codec_oracle/oracle.rs"]
mod oracle;
#[path = "codec_oracle/ours.rs"]
mod ours;
#[path = "codec_oracle/probes.rs"]
mod probes;
#[path = "codec_oracle/streams.rs"]
mod streams;

use ours::End;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use vmkit::exchange::HeadError;

/// A request as both codecs see it; header names in lower case, lines sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    method: String,
    /// Path and query.
    target: String,
    /// Host of an absolute-form target.
    host: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// A reply as both codecs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// hyper drops all but one of several lengths that agree; what they say is compared by the bodies.
fn without_lengths(mut lines: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    lines.retain(|(name, _)| name != "content-length");
    lines
}

/// Runs a future on a runtime of its own, as a worker does.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The bytes cut at these places.
fn cut<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.push(0);
    places.push(bytes.len());
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).filter(|piece| !piece.is_empty()).collect()
}

/// Refusals of ours that hyper does not share, each with its reason.
fn may_be_refused(end: End) -> bool {
    match end {
        End::Refused(error) => match error {
            // RFC 9112 §3.2: a request without, with several or with a malformed Host.
            HeadError::MissingHost | HeadError::ManyHosts | HeadError::BadHost => true,
            // RFC 9112 §2.2 lets a recipient take a bare LF for a line end; another one would not.
            HeadError::BareLf => true,
            // RFC 9112 §6.1: both framings; codings other than a final `chunked`, which the proxy cannot undo.
            HeadError::LengthAndCoding | HeadError::UnsupportedCoding => true,
            // Lists of lengths, and lengths beyond 63 bits.
            HeadError::BadContentLength => true,
            // CONNECT, authority-form, broken escapes, fragments.
            HeadError::BadTarget => true,
            // RFC 9110 §10.1.1.
            HeadError::BadExpect => true,
            HeadError::Malformed
            | HeadError::BadHeaderName
            | HeadError::BadHeaderValue
            | HeadError::TooManyHeaders
            | HeadError::CodingInHttp10
            | HeadError::BadVersion
            | HeadError::TooLarge
            | HeadError::ConnectionHeader
            | HeadError::UnknownProtocol => false,
        },
        // Trailers that are no header fields.
        End::BadBody => true,
        // `close` together with `keep-alive` closes.
        End::NotKept => true,
        End::Closed => false,
    }
}

fn compare_requests(pieces: &[&[u8]]) -> TestCaseResult {
    let (ours, theirs) = run(async { (ours::serve(pieces).await, oracle::serve(pieces).await) });
    prop_assert!(ours.messages.len() <= theirs.len(), "hyper refuses {:?}", ours.messages.last());
    for (mine, other) in ours.messages.iter().zip(&theirs) {
        prop_assert_eq!(mine, other);
    }
    if theirs.len() > ours.messages.len() && !may_be_refused(ours.end) {
        let text = format!("hyper accepts {:?}, ours ends with {:?}", &theirs[ours.messages.len()], ours.end);
        return Err(TestCaseError::fail(text));
    }
    Ok(())
}

fn compare_replies(to_head: bool, pieces: &[&[u8]]) -> TestCaseResult {
    let (ours, mut theirs) = run(async { (ours::fetch(to_head, pieces).await, oracle::fetch(to_head, pieces).await) });
    if let Some((reply, _)) = ours {
        if theirs.is_none() {
            theirs = run(oracle::fetch(to_head, &[&single_blanks(&pieces.concat())]));
        }
        prop_assert_eq!(Some(reply), theirs);
    }
    Ok(())
}

/// A stream whose status lines have no runs of blanks: ours reads such lines as Go does, hyper refuses them.
fn single_blanks(stream: &[u8]) -> Vec<u8> {
    let lines = stream.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let mut line = line.to_vec();
        if line.starts_with(b"HTTP/1.") {
            line.dedup_by(|a, b| (*a, *b) == (b' ', b' '));
        }
        line
    });
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn runs_of_blanks_in_a_status_line_are_read_as_one() {
    let stream = b"HTTP/1.1  404   Not  Found \r\nContent-Length: 1\r\n\r\na";
    compare_replies(false, &[stream]).unwrap();
    assert_eq!(run(ours::fetch(false, &[stream])).unwrap().0.status, 404);
    assert_eq!(run(oracle::fetch(false, &[stream])), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(stream in streams::requests(), at: [prop::sample::Index; 3]) {
        compare_requests(&cut(&stream.0, &at))?;
    }

    #[test]
    fn requests_with_faults(stream in streams::faulty(streams::requests()), at: [prop::sample::Index; 3]) {
        compare_requests(&cut(&stream.0, &at))?;
    }

    #[test]
    fn replies(stream in streams::reply(), to_head: bool, at: [prop::sample::Index; 3]) {
        compare_replies(to_head, &cut(&stream.0, &at))?;
    }

    #[test]
    fn replies_with_faults(stream in streams::faulty(streams::reply()), to_head: bool, at: [prop::sample::Index; 3]) {
        compare_replies(to_head, &cut(&stream.0, &at))?;
    }

    #[test]
    fn where_a_stream_is_cut_does_not_matter(stream in streams::faulty(streams::requests()), at: [prop::sample::Index; 3]) {
        let (whole, cut) = run(async { (ours::serve(&[&stream.0]).await, ours::serve(&cut(&stream.0, &at)).await) });
        prop_assert_eq!((whole.messages, whole.end), (cut.messages, cut.end));
    }
}

/// The generator must not make only streams that are refused.
#[test]
fn most_generated_requests_are_served() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut served = 0;
    for _ in 0..100 {
        let stream = streams::requests().new_tree(&mut runner).unwrap().current();
        served += usize::from(!run(ours::serve(&[&stream.0])).messages.is_empty());
    }
    assert!(served >= 90, "{served} of 100");
}
