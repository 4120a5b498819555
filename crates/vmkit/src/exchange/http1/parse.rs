//! Heads from HTTP/1 text: tokenising is httparse's, the rules are those of the heads themselves.
//!
//! Parsing is strict where two servers could disagree about where a message ends (RFC 9112 §11.2): folded lines, bare
//! LF, a blank before the colon of a request are errors, and an error closes the connection.

use std::mem::MaybeUninit;

use super::super::framing::Version;
use super::super::head_error::HeadError;
use super::super::head_lines::range_in;
use super::super::request_head::{MAX_HEADERS, RequestHead};
use super::super::response_head::ResponseHead;

impl RequestHead {
    /// Parses the head at the start of `bytes` into `self`, replacing what was there.
    ///
    /// Returns the length of the head, or `None` when it is not complete yet. Leading empty lines must be removed by
    /// the caller. After an error the connection must be closed: nobody knows where the next message starts.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        match self.parse_with(bytes, &mut [const { MaybeUninit::uninit() }; 64]) {
            Err(HeadError::TooManyHeaders) => {
                self.parse_with(bytes, &mut vec![const { MaybeUninit::uninit() }; MAX_HEADERS])
            }
            other => other,
        }
    }

    fn parse_with<'b>(
        &mut self,
        bytes: &'b [u8],
        slots: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<usize>, HeadError> {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, slots) {
            Ok(httparse::Status::Complete(length)) => {
                self.fill(&bytes[..length], &request)?;
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(head_error(error)),
        }
    }

    fn fill(&mut self, bytes: &[u8], request: &httparse::Request<'_, '_>) -> Result<(), HeadError> {
        if has_bare_lf(bytes) {
            return Err(HeadError::BareLf);
        }
        self.raw.clear();
        self.raw.extend_from_slice(bytes);
        let method = request.method.ok_or(HeadError::Malformed)?;
        let target = request.path.ok_or(HeadError::Malformed)?;
        self.set_method(range_in(bytes, method.as_bytes()), method);
        self.target = range_in(bytes, target.as_bytes());
        self.version = match request.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            _ => return Err(HeadError::BadVersion),
        };
        self.lines.refill(bytes, request.headers);
        self.check_http1()
    }
}

impl ResponseHead {
    /// Parses the head at the start of `bytes`; `to_head` says that it answers a HEAD request.
    ///
    /// Returns the length of the head, or `None` when it is not complete yet.
    pub fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<Option<usize>, HeadError> {
        match self.parse_with(bytes, to_head, &mut [const { MaybeUninit::uninit() }; 64]) {
            Err(HeadError::TooManyHeaders) => {
                self.parse_with(bytes, to_head, &mut vec![const { MaybeUninit::uninit() }; MAX_HEADERS])
            }
            other => other,
        }
    }

    fn parse_with<'b>(
        &mut self,
        bytes: &'b [u8],
        to_head: bool,
        slots: &mut [MaybeUninit<httparse::Header<'b>>],
    ) -> Result<Option<usize>, HeadError> {
        let mut response = httparse::Response::new(&mut []);
        let mut config = httparse::ParserConfig::default();
        config.allow_spaces_after_header_name_in_responses(true);
        config.allow_multiple_spaces_in_response_status_delimiters(true);
        match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
            Ok(httparse::Status::Complete(length)) => {
                self.fill(&bytes[..length], &response, to_head)?;
                Ok(Some(length))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyHeaders),
            Err(_) => Err(HeadError::Malformed),
        }
    }

    fn fill(&mut self, bytes: &[u8], response: &httparse::Response<'_, '_>, to_head: bool) -> Result<(), HeadError> {
        self.raw.clear();
        self.raw.extend_from_slice(bytes);
        self.status = response.code.filter(|code| (100..1000).contains(code)).ok_or(HeadError::Malformed)?;
        let version = match response.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            _ => return Err(HeadError::BadVersion),
        };
        self.lines.refill(bytes, response.headers);
        self.check_http1(version, to_head)
    }
}

/// Looks at all bytes, whatever it finds: without a way out the compiler compares many at once.
fn has_bare_lf(bytes: &[u8]) -> bool {
    let is_bare = |(before, byte): (&u8, &u8)| *byte == b'\n' && *before != b'\r';
    let behind_first = bytes.get(1..).unwrap_or_default();
    bytes.first() == Some(&b'\n') || bytes.iter().zip(behind_first).fold(false, |found, pair| found | is_bare(pair))
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::BadHeaderName,
        httparse::Error::HeaderValue => HeadError::BadHeaderValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => HeadError::BadVersion,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => HeadError::Malformed,
    }
}
