//! Varints, tags and fields of the protocol buffers wire format.

/// Why bytes are no write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length or number goes on behind the end.
    #[error("the message is cut short")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a varint is too long")]
    Varint,
    /// A field number that does not exist.
    #[error("a field number is out of range")]
    Tag,
    /// A field of another type than it must have.
    #[error("a field has the wrong wire type")]
    WireType,
}

/// Value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Four bytes; nothing of ours has this type.
    Fixed32,
}

impl<'a> Value<'a> {
    pub(super) fn varint(self) -> Result<u64, DecodeError> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Fixed64(_) | Self::Bytes(_) | Self::Fixed32 => Err(DecodeError::WireType),
        }
    }

    pub(super) fn fixed64(self) -> Result<u64, DecodeError> {
        match self {
            Self::Fixed64(value) => Ok(value),
            Self::Varint(_) | Self::Bytes(_) | Self::Fixed32 => Err(DecodeError::WireType),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32 => Err(DecodeError::WireType),
        }
    }
}

/// The fields of one message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// Number and value of the next field.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(DecodeError::Tag)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).ok().filter(|len| *len <= self.0.len()).ok_or(DecodeError::Truncated)?;
                Value::Bytes(self.take(len))
            }
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            // Groups are long gone from the format.
            _ => return Err(DecodeError::WireType),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        // Nearly all are one byte.
        if let Some((&first, rest)) = self.0.split_first()
            && first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(first));
        }
        let mut value = 0;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                if index == 9 && byte > 1 {
                    return Err(DecodeError::Varint);
                }
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.0.len() < 10 { DecodeError::Truncated } else { DecodeError::Varint })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
}

/// Bytes of a number as a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_all_lengths() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut out = Vec::new();
                push_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                assert_eq!(Fields(&out).varint(), Ok(value));
                out.pop();
                assert_eq!(Fields(&out).varint(), Err(DecodeError::Truncated), "{value}");
            }
        }
        assert_eq!(Fields(&[0xff; 20]).varint(), Err(DecodeError::Varint));
        assert_eq!(
            Fields(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(),
            Err(DecodeError::Varint)
        );
    }

    #[test]
    fn fields() {
        let f = |bytes: &[u8], want: Result<Option<(u32, Value<'_>)>, DecodeError>| {
            assert_eq!(Fields(bytes).next(), want, "{bytes:?}");
        };
        f(&[], Ok(None));
        f(&[0x08, 5], Ok(Some((1, Value::Varint(5)))));
        f(&[0x12, 2, b'a', b'b'], Ok(Some((2, Value::Bytes(b"ab")))));
        f(&[0x19, 1, 0, 0, 0, 0, 0, 0, 0], Ok(Some((3, Value::Fixed64(1)))));
        f(&[0x25, 1, 0, 0, 0], Ok(Some((4, Value::Fixed32))));
        f(&[0x12, 3, b'a', b'b'], Err(DecodeError::Truncated));
        f(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Err(DecodeError::Truncated));
        f(&[0x19, 1], Err(DecodeError::Truncated));
        f(&[0x02, 0], Err(DecodeError::Tag));
        f(&[0x0b], Err(DecodeError::WireType));
        f(&[0x0f], Err(DecodeError::WireType));
    }
}
