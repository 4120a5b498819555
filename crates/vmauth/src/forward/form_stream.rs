//! Removes protected args from a form that is too large to be held in memory.
//!
//! Works on pieces as they arrive and holds back at most one arg name. A name that is longer than any protected one
//! could be, even percent-encoded, passes.

use crate::rewrite::form_body::ProtectedArgs;

/// Names longer than this are not protected ones.
const MAX_NAME: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Collecting a name.
    Name,
    Passing,
    Dropping,
}

/// A form on its way.
#[derive(Debug)]
pub struct FormStream<'a> {
    protected: &'a ProtectedArgs,
    state: State,
    name: Vec<u8>,
    /// What stood before the current name; some backends take `;` for a separator too.
    separator: u8,
    /// Whether an arg was passed before, so that the next one needs a separator.
    passed: bool,
}

impl<'a> FormStream<'a> {
    /// A form at its beginning.
    pub fn new(protected: &'a ProtectedArgs) -> Self {
        Self { protected, state: State::Name, name: Vec::new(), separator: b'&', passed: false }
    }

    /// Appends to `out` what may be passed on after `piece`.
    pub fn push(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        for &b in piece {
            match (self.state, b) {
                (State::Name, b'&' | b';') => {
                    self.end_name(out);
                    self.next(b);
                }
                (State::Name, b'=') => {
                    self.end_name(out);
                    if self.state == State::Passing {
                        out.push(b'=');
                    }
                }
                (State::Name, _) => {
                    self.name.push(b);
                    if self.name.len() > MAX_NAME {
                        self.pass_name(out);
                    }
                }
                (State::Passing | State::Dropping, b'&' | b';') => self.next(b),
                (State::Passing, _) => out.push(b),
                (State::Dropping, _) => {}
            }
        }
    }

    fn next(&mut self, separator: u8) {
        self.state = State::Name;
        self.separator = separator;
    }

    /// Appends what was held back; the form has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Name {
            self.end_name(out);
        }
    }

    fn end_name(&mut self, out: &mut Vec<u8>) {
        if self.protected.protects(&self.name) {
            self.name.clear();
            self.state = State::Dropping;
        } else {
            self.pass_name(out);
        }
    }

    fn pass_name(&mut self, out: &mut Vec<u8>) {
        if self.passed {
            out.push(self.separator);
        }
        self.passed = true;
        out.append(&mut self.name);
        self.state = State::Passing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::target_url::TargetUrl;

    #[test]
    fn pieces_of_every_size() {
        let url = TargetUrl::parse("http://h/?extra_label=a&filters=b").unwrap();
        let protected = url.protected_args(&[]);
        let f = |form: &str, want: &str| {
            for size in 1..=form.len() {
                let mut stream = FormStream::new(&protected);
                let mut out = Vec::new();
                for piece in form.as_bytes().chunks(size) {
                    stream.push(&mut out, piece);
                }
                stream.finish(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), want, "{form:?} in pieces of {size}");
            }
        };
        f("query=up&extra_label=x&start=1", "query=up&start=1");
        f("extra_label=x", "x".trim_matches('x'));
        f("extra%5flabel[]=x&a=b;filters=c&d", "a=b&d");
        f("a=extra_label=x&b", "a=extra_label=x&b");
        f("filters", "");
        let long = "n".repeat(5000);
        f(&format!("{long}=1&filters=2"), &format!("{long}=1"));
    }
}
