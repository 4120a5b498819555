//! Texts of operating-system errors, in the form that users of the original search their logs for.
//!
//! Rust appends `(os error N)` and begins with a capital letter; the original prints neither. Every error text of
//! this crate that ends in the cause of a system call goes through here.

use std::io;

/// The text of `error` without the error number and without a leading capital: `connection refused`,
/// `no such file or directory`. A deadline of our own is `i/o timeout`, an unexpected end of a stream `EOF`.
pub fn text(error: &io::Error) -> String {
    if error.raw_os_error().is_none() {
        return match error.kind() {
            io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => error.to_string(),
        };
    }
    let full = error.to_string();
    let bare = full.rfind(" (os error ").and_then(|end| full.get(..end)).unwrap_or(&full);
    lower_first(bare)
}

/// Lower-cases the first letter unless the word is an acronym (`RPC …`).
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && !second.is_ascii_uppercase() => {
            let mut lowered = String::with_capacity(text.len());
            lowered.push(first.to_ascii_lowercase());
            lowered.push_str(chars.as_str());
            lowered
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_the_original_prints_them() {
        let f = |error: io::Error, want: &str| assert_eq!(text(&error), want);
        f(io::Error::from_raw_os_error(111), "connection refused");
        f(io::Error::from_raw_os_error(98), "address already in use");
        f(io::Error::from_raw_os_error(2), "no such file or directory");
        f(io::Error::from_raw_os_error(104), "connection reset by peer");
        f(io::Error::from_raw_os_error(110), "connection timed out");
        f(io::Error::from(io::ErrorKind::TimedOut), "i/o timeout");
        f(io::Error::from(io::ErrorKind::UnexpectedEof), "EOF");
        f(io::Error::other("something Else"), "something Else");
        assert_eq!(lower_first("RPC struct is bad"), "RPC struct is bad");
        assert_eq!(lower_first(""), "");
    }
}
