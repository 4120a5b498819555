//! Whether and whither a reply redirects.
//!
//! Only GET and HEAD are followed: repeating a POST elsewhere could act twice or hand its body to a stranger.

use super::target::{Target, UserInfo};
use hyper::{Method, StatusCode};

/// The target of a redirect that is to be followed; `None` means that the reply is final.
///
/// A `Location` that cannot be understood is an error.
pub(super) fn target(
    method: &Method,
    status: StatusCode,
    location: Option<&str>,
    base: &Target,
) -> Option<Result<(Target, Option<UserInfo>), &'static str>> {
    let follows = (*method == Method::GET || *method == Method::HEAD)
        && matches!(
            status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
    if follows { location.map(|location| base.join(location)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_replies_are_followed() {
        let base = Target::parse("http://foo/a").unwrap().0;
        let f = |method: Method, status: u16, location: Option<&str>, want: bool| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(target(&method, status, location, &base).is_some(), want, "{method} {status}");
        };
        for status in [301, 302, 303, 307, 308] {
            f(Method::GET, status, Some("/b"), true);
            f(Method::HEAD, status, Some("/b"), true);
            f(Method::POST, status, Some("/b"), false);
            f(Method::GET, status, None, false);
        }
        f(Method::GET, 304, Some("/b"), false);
        f(Method::GET, 200, Some("/b"), false);
    }
}
