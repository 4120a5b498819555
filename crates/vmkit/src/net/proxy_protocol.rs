//! The PROXY protocol, versions 1 and 2: who the client of a load balancer in front of us is.
//!
//! The acceptor reads the first bytes of a connection and asks here whether they form a header (HAProxy's
//! `proxy-protocol.txt`). It decides length and source address, without I/O. It must never guess:
//! a header that announces something other than TCP over IPv4 or IPv6 is an error, not the peer's own address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Most bytes that [`parse`] needs to reach a verdict.
pub const MAX_HEADER_LEN: usize = V2_FIXED_LEN + MAX_BLOCK_LEN;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_LEN: usize = 16;
const MAX_BLOCK_LEN: usize = 2048;
const V1_SIGNATURE: &[u8] = b"PROXY ";
/// Longest line of version 1 with its CR LF.
const V1_MAX_LEN: usize = 107;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Good so far; more bytes are needed.
    Incomplete,
    /// A whole header.
    Complete {
        /// Bytes of the header; the client's own bytes follow.
        length: usize,
        /// The announced client; `None` (LOCAL, UNKNOWN) means the peer of the TCP connection.
        source: Option<SocketAddr>,
    },
}

/// Why the first bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    /// Neither of the two signatures.
    #[error("missing PROXY protocol header")]
    NoSignature,
    /// The version nibble of a binary header is not 2.
    #[error("unsupported PROXY protocol version {0}; want 2")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("unknown PROXY protocol command {0}")]
    Command(u8),
    /// Unix sockets and everything that is not IPv4 or IPv6.
    #[error("unsupported address family {0} in PROXY protocol header; want IPv4 or IPv6")]
    Family(u8),
    /// Datagrams and everything that is not a stream.
    #[error("unsupported transport protocol {0} in PROXY protocol header; want TCP")]
    Transport(u8),
    /// The block behind the fixed part is longer than we are willing to hold.
    #[error("too long PROXY protocol block of {0} bytes; want at most {MAX_BLOCK_LEN} bytes")]
    BlockTooLong(usize),
    /// The block cannot hold the addresses of its family.
    #[error("too short PROXY protocol block of {got} bytes; want at least {want} bytes")]
    BlockTooShort {
        /// Announced length.
        got: usize,
        /// Length of the addresses.
        want: usize,
    },
    /// A line of version 1 that does not follow the grammar.
    #[error("malformed PROXY protocol line")]
    MalformedLine,
}

/// Looks at the bytes received so far. Give it everything from the first byte of the connection on.
///
/// More bytes never change a verdict other than [`Parsed::Incomplete`]. Linear in the length of the header, no allocation.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    if shares_start(bytes, &V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if shares_start(bytes, V1_SIGNATURE) {
        return parse_v1(bytes);
    }
    Err(ProxyProtocolError::NoSignature)
}

/// Whether `bytes` begins with `signature` or is a beginning of it.
fn shares_start(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, want)| byte == want)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    // Each field is judged as soon as it is there, so a bad sender is not waited for.
    let Some(&version_command) = bytes.get(12) else { return Ok(Parsed::Incomplete) };
    if version_command >> 4 != 2 {
        return Err(ProxyProtocolError::Version(version_command >> 4));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        command => return Err(ProxyProtocolError::Command(command)),
    };
    let Some(&family_transport) = bytes.get(13) else { return Ok(Parsed::Incomplete) };
    let address_len = if local { 0 } else { address_len(family_transport)? };
    let Some(&[high, low]) = bytes.get(14..V2_FIXED_LEN) else { return Ok(Parsed::Incomplete) };
    let block_len = usize::from(u16::from_be_bytes([high, low]));
    if block_len > MAX_BLOCK_LEN {
        return Err(ProxyProtocolError::BlockTooLong(block_len));
    }
    if block_len < address_len {
        return Err(ProxyProtocolError::BlockTooShort { got: block_len, want: address_len });
    }
    let length = V2_FIXED_LEN + block_len;
    let Some(block) = bytes.get(V2_FIXED_LEN..length) else { return Ok(Parsed::Incomplete) };
    let source = if local { None } else { source_of_block(family_transport >> 4, block) };
    Ok(Parsed::Complete { length, source })
}

/// Bytes of both addresses and ports. A sender that knows no addresses (`UNSPEC`) is taken as version 1's UNKNOWN.
fn address_len(family_transport: u8) -> Result<usize, ProxyProtocolError> {
    if family_transport == 0 {
        return Ok(0);
    }
    let length = match family_transport >> 4 {
        1 => 12,
        2 => 36,
        family => return Err(ProxyProtocolError::Family(family)),
    };
    match family_transport & 0x0f {
        1 => Ok(length),
        transport => Err(ProxyProtocolError::Transport(transport)),
    }
}

fn source_of_block(family: u8, block: &[u8]) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, &[u8; 2]) = match family {
        1 => (Ipv4Addr::from(*block.first_chunk::<4>()?).into(), block.get(8..)?.first_chunk()?),
        2 => (Ipv6Addr::from(*block.first_chunk::<16>()?).into(), block.get(32..)?.first_chunk()?),
        _ => return None,
    };
    // IP filters know `::ffff:1.2.3.4` as the IPv4 address that it is.
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(*port)))
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    let window = bytes.get(..V1_MAX_LEN).unwrap_or(bytes);
    let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
        return if window.len() == V1_MAX_LEN {
            Err(ProxyProtocolError::MalformedLine)
        } else {
            Ok(Parsed::Incomplete)
        };
    };
    match (window.get(end), window.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if window.len() < V1_MAX_LEN => return Ok(Parsed::Incomplete),
        _ => return Err(ProxyProtocolError::MalformedLine),
    }
    let line = window.get(V1_SIGNATURE.len()..end).ok_or(ProxyProtocolError::MalformedLine)?;
    let source = source_of_line(line).ok_or(ProxyProtocolError::MalformedLine)?;
    Ok(Parsed::Complete { length: end + 2, source })
}

/// The part behind `PROXY `. `None` for a malformed one, `Some(None)` for UNKNOWN.
fn source_of_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.is_ascii())?;
    let (protocol, rest) = line.split_once(' ').unwrap_or((line, ""));
    match protocol {
        "UNKNOWN" => Some(None),
        "TCP4" => source_of_fields::<Ipv4Addr>(rest).map(Some),
        "TCP6" => source_of_fields::<Ipv6Addr>(rest).map(Some),
        _ => None,
    }
}

/// `SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT`, exactly one space between.
fn source_of_fields<A: FromStr + Into<IpAddr>>(fields: &str) -> Option<SocketAddr> {
    let mut fields = fields.split(' ');
    let source: IpAddr = fields.next()?.parse::<A>().ok()?.into();
    fields.next()?.parse::<A>().ok()?;
    let port = parse_port(fields.next()?)?;
    parse_port(fields.next()?)?;
    if fields.next().is_some() {
        return None;
    }
    Some(SocketAddr::new(source.to_canonical(), port))
}

/// Decimal digits without a sign or leading zeros.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
