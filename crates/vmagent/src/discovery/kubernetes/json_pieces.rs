//! Cuts replies of an API server into whole objects while they arrive.
//!
//! A list of ten thousand pods is 46 MB of JSON; nobody needs more of it in memory than the object that is being
//! read. [`ListReader`] finds the items of a list and its version, [`EventReader`] the events of a watch. Both take
//! the bytes in pieces of any size and hand out slices that hold exactly one value; an object that lies whole in a
//! piece is not copied. What is in an object is not looked at here, only strings and nesting.

use memchr::memchr2;

/// A larger object is an error; etcd takes 1.5 MiB by default.
pub(super) const MAX_OBJECT: usize = 16 << 20;
/// The head of a list: kind, version, continue token.
const MAX_METADATA: usize = 64 << 10;
const MAX_KEY: usize = 256;

/// Why a reply cannot be cut into objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// Not the JSON of a list or of events.
    #[error("unexpected byte {0:?} in JSON")]
    Unexpected(char),
    /// One object above the limit.
    #[error("an object of the reply exceeds {0} bytes")]
    TooLarge(usize),
    /// The reply ended within a value.
    #[error("unexpected end of JSON")]
    Cut,
}

/// Follows strings and brackets of one value.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// How many of `bytes` belong to the value if it ends among them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                let found = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default())?;
                at += found + 1;
                match bytes.get(at - 1) {
                    Some(b'\\') => self.escaped = true,
                    _ => self.in_string = false,
                }
                if !self.in_string && self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// One value that may come in several pieces.
#[derive(Debug, Default)]
struct Value {
    nesting: Nesting,
    /// What came before the present piece.
    begun: Vec<u8>,
}

impl Value {
    /// Takes what belongs to the value; calls `whole` with all of it when it ends.
    fn take(&mut self, bytes: &[u8], limit: usize, whole: impl FnOnce(&[u8])) -> Result<Taken, PieceError> {
        let end = self.nesting.end(bytes);
        let own = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if self.begun.len() + own.len() > limit {
            return Err(PieceError::TooLarge(limit));
        }
        if end.is_none() {
            self.begun.extend_from_slice(own);
            return Ok(Taken { len: own.len(), ended: false });
        }
        if self.begun.is_empty() {
            whole(own);
        } else {
            self.begun.extend_from_slice(own);
            whole(&self.begun);
            self.begun.clear();
            // One huge object must not be paid for until the watch ends.
            self.begun.shrink_to(MAX_METADATA);
        }
        self.nesting = Nesting::default();
        Ok(Taken { len: own.len(), ended: true })
    }
}

struct Taken {
    len: usize,
    ended: bool,
}

/// Members of a list that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Metadata,
    Items,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    BeforeKey,
    InKey,
    BeforeColon,
    BeforeValue,
    /// A value in brackets or quotes.
    InValue,
    /// A number, `true`, `null`.
    InBareValue,
    BeforeItem,
    InItem,
    InBareItem,
    Done,
}

/// Reads `{"kind":…,"metadata":{…},"items":[…]}` piece by piece.
#[derive(Debug)]
pub(super) struct ListReader {
    at: At,
    key: Vec<u8>,
    member: Member,
    value: Value,
    metadata: Vec<u8>,
}

impl Default for ListReader {
    fn default() -> Self {
        Self { at: At::Start, key: Vec::new(), member: Member::Other, value: Value::default(), metadata: Vec::new() }
    }
}

impl ListReader {
    /// Reads on; calls `item` with each item that is whole now.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut item: impl FnMut(&[u8])) -> Result<(), PieceError> {
        while let Some(&byte) = bytes.first() {
            let taken = match self.at {
                At::InItem => {
                    let taken = self.value.take(bytes, MAX_OBJECT, &mut item)?;
                    if taken.ended {
                        self.at = At::BeforeItem;
                    }
                    taken.len
                }
                At::InValue => self.member_value(bytes)?,
                At::InKey => self.key(bytes)?,
                _ => self.single(byte)?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// The member `metadata` of the list, after the whole list was read.
    pub(super) fn finish(self) -> Result<Vec<u8>, PieceError> {
        if self.at == At::Done { Ok(self.metadata) } else { Err(PieceError::Cut) }
    }

    fn key(&mut self, bytes: &[u8]) -> Result<usize, PieceError> {
        let end = memchr::memchr(b'"', bytes);
        let own = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if self.key.len() + own.len() > MAX_KEY {
            return Err(PieceError::TooLarge(MAX_KEY));
        }
        self.key.extend_from_slice(own);
        if end.is_none() {
            return Ok(own.len());
        }
        self.member = match &*self.key {
            b"metadata" => Member::Metadata,
            b"items" => Member::Items,
            _ => Member::Other,
        };
        self.key.clear();
        self.at = At::BeforeColon;
        Ok(own.len() + 1)
    }

    fn member_value(&mut self, bytes: &[u8]) -> Result<usize, PieceError> {
        let (metadata, keep) = (&mut self.metadata, self.member == Member::Metadata);
        let taken = self.value.take(bytes, MAX_METADATA, |whole| {
            if keep {
                *metadata = whole.to_vec();
            }
        })?;
        if taken.ended {
            self.at = At::BeforeKey;
        }
        Ok(taken.len)
    }

    /// One byte between values; returns how many were used.
    fn single(&mut self, byte: u8) -> Result<usize, PieceError> {
        if byte.is_ascii_whitespace() && !matches!(self.at, At::InBareValue | At::InBareItem) {
            return Ok(1);
        }
        let unexpected = Err(PieceError::Unexpected(char::from(byte)));
        let (next, used) = match (self.at, byte) {
            (At::Start, b'{') => (At::BeforeKey, 1),
            (At::BeforeKey, b',') => (At::BeforeKey, 1),
            (At::BeforeKey, b'"') => (At::InKey, 1),
            (At::BeforeKey, b'}') => (At::Done, 1),
            (At::BeforeColon, b':') => (At::BeforeValue, 1),
            (At::BeforeValue, b'[') if self.member == Member::Items => (At::BeforeItem, 1),
            (At::BeforeValue, b'{' | b'[' | b'"') => (At::InValue, 0),
            (At::BeforeValue, _) => (At::InBareValue, 0),
            (At::InBareValue, b',' | b'}') => (At::BeforeKey, 0),
            (At::InBareValue, b'{' | b'[' | b'"' | b']') => return unexpected,
            (At::InBareValue, _) => (At::InBareValue, 1),
            (At::BeforeItem, b'{') => (At::InItem, 0),
            (At::BeforeItem, b',') => (At::BeforeItem, 1),
            (At::BeforeItem, b']') => (At::BeforeKey, 1),
            (At::BeforeItem, b'n') => (At::InBareItem, 1),
            (At::InBareItem, b',' | b']') => (At::BeforeItem, 0),
            (At::InBareItem, b'u' | b'l') => (At::InBareItem, 1),
            _ => return unexpected,
        };
        self.at = next;
        Ok(used)
    }
}

/// Reads objects that follow each other, as a watch sends them.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    value: Value,
    within: bool,
}

impl EventReader {
    /// Reads on; calls `event` with each event that is whole now.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut event: impl FnMut(&[u8])) -> Result<(), PieceError> {
        while let Some(&byte) = bytes.first() {
            let taken = if self.within || byte == b'{' {
                let taken = self.value.take(bytes, MAX_OBJECT, &mut event)?;
                self.within = !taken.ended;
                taken.len
            } else if byte.is_ascii_whitespace() {
                1
            } else {
                return Err(PieceError::Unexpected(char::from(byte)));
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether the reply may end here.
    pub(super) fn is_between_events(&self) -> bool {
        !self.within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items and metadata of a list that arrives in pieces of `size` bytes.
    fn read(text: &str, size: usize) -> Result<(Vec<String>, String), PieceError> {
        let mut reader = ListReader::default();
        let mut items = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            reader.feed(piece, |item| items.push(String::from_utf8(item.to_vec()).unwrap()))?;
        }
        Ok((items, String::from_utf8(reader.finish()?).unwrap()))
    }

    #[test]
    fn lists_come_apart_in_pieces_of_any_size() {
        let f = |text: &str, want_items: &[&str], want_metadata: &str| {
            for size in [1, 2, 3, 7, 4096] {
                let (items, metadata) = read(text, size).unwrap();
                assert_eq!(items, want_items, "{text} in pieces of {size}");
                assert_eq!(metadata, want_metadata);
            }
        };
        let text = r#" { "kind" : "PodList", "n":12.5,"t":true, "metadata":{"resourceVersion":"7","a":"}\"]"},
            "items":[{"a":[{}]}, {"b":"\\\"}"} ,{}] , "extra":[1,{"items":[{}]}],"z":null}
            "#;
        f(text, &[r#"{"a":[{}]}"#, r#"{"b":"\\\"}"}"#, "{}"], r#"{"resourceVersion":"7","a":"}\"]"}"#);
        f(r#"{"items":null,"metadata":{}}"#, &[], "{}");
        f(r#"{"items":[]}"#, &[], "");
        f(r#"{"items":[null,{"x":1}, null]}"#, &[r#"{"x":1}"#], "");
        f("{}", &[], "");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let f = |text: &str, want: PieceError| {
            for size in [1, 4096] {
                assert_eq!(read(text, size), Err(want), "{text}");
            }
        };
        f("", PieceError::Cut);
        f("[]", PieceError::Unexpected('['));
        f("<html>", PieceError::Unexpected('<'));
        f(r#"{"items":["a"]}"#, PieceError::Unexpected('"'));
        f(r#"{"items":[{}"#, PieceError::Cut);
        f(r#"{"items":[{"#, PieceError::Cut);
        f(r#"{"items"}"#, PieceError::Unexpected('}'));
        f(r#"{} x"#, PieceError::Unexpected('x'));
        f(&format!("{{\"{}", "k".repeat(300)), PieceError::TooLarge(MAX_KEY));
        f(&format!("{{\"metadata\":\"{}", "k".repeat(70_000)), PieceError::TooLarge(MAX_METADATA));
    }

    #[test]
    fn events_follow_each_other_with_and_without_line_ends() {
        let f = |text: &str, want: &[&str], between: bool| {
            for size in [1, 2, 5, 4096] {
                let mut reader = EventReader::default();
                let mut events = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    reader.feed(piece, |event| events.push(String::from_utf8(event.to_vec()).unwrap())).unwrap();
                }
                assert_eq!(events, want, "pieces of {size}");
                assert_eq!(reader.is_between_events(), between);
            }
        };
        f(
            "{\"a\":\"\\n}\"}\n{}\r\n {\"b\":[{}]}{\"c\":1}",
            &["{\"a\":\"\\n}\"}", "{}", "{\"b\":[{}]}", "{\"c\":1}"],
            true,
        );
        f("{\"a\":1}\n{\"b\"", &["{\"a\":1}"], false);
        f("", &[], true);
        let mut reader = EventReader::default();
        assert_eq!(reader.feed(b"{}\nx", |_| {}), Err(PieceError::Unexpected('x')));
    }

    #[test]
    fn an_object_of_a_mebibyte_passes_and_a_larger_one_than_allowed_does_not() {
        let large = format!("{{\"items\":[{{\"a\":\"{}\"}}]}}", "x".repeat(1 << 20));
        assert_eq!(read(&large, 1000).unwrap().0[0].len(), (1 << 20) + 8);
        let mut reader = EventReader::default();
        let piece = vec![b'x'; 1 << 20];
        reader.feed(b"{\"a\":\"", |_| {}).unwrap();
        let result = (0..20).try_for_each(|_| reader.feed(&piece, |_| {}));
        assert_eq!(result, Err(PieceError::TooLarge(MAX_OBJECT)));
    }
}
