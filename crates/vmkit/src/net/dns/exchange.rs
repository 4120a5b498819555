//! One question to one server: over UDP, and over TCP when the answer was cut (RFC 7766).
//!
//! Replies that do not fit the question are passed over until the time is up: they may be forged or late. Ids are
//! random, as is the port that the system chooses.

use super::answer::{self, Answer};
use super::error::DnsCause;
use crate::go_text::os_error;
use hickory_proto::rr::{Name, RecordType};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Asks one server; `limit` holds for each transport.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    limit: Duration,
    use_tcp: bool,
) -> Result<Answer, DnsCause> {
    let mut random = [0; 2];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| DnsCause::Other("no random numbers".to_owned()))?;
    let id = u16::from_be_bytes(random);
    let question =
        answer::question(id, name, kind).ok_or_else(|| DnsCause::Other("cannot marshal DNS message".to_owned()))?;
    let read = |reply: &[u8]| answer::read(reply, id, name, kind);
    if !use_tcp {
        match timeout(limit, over_udp(server, &question, read)).await {
            Err(_) => return Err(DnsCause::Timeout),
            Ok(Err(error)) => return Err(DnsCause::Other(os_error(&error))),
            Ok(Ok(Answer::Cut)) => {}
            Ok(Ok(answer)) => return Ok(answer),
        }
    }
    match timeout(limit, over_tcp(server, &question)).await {
        Err(_) => Err(DnsCause::Timeout),
        Ok(Err(error)) => Err(DnsCause::Other(os_error(&error))),
        Ok(Ok(reply)) => Ok(read(&reply).unwrap_or(Answer::Failure)),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8], read: impl Fn(&[u8]) -> Option<Answer>) -> io::Result<Answer> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // The system then passes replies of this server only, and tells when its port is closed.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = read(buffer.get(..length).unwrap_or_default()) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}
