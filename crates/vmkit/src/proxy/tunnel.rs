//! Asking an HTTP proxy for a connection: `CONNECT` (RFC 9110 §9.3.6).

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::go_text::quote;

/// Longest head of a proxy's reply.
const MAX_REPLY: usize = 64 * 1024;

/// Asks an HTTP proxy for a connection to `host`; `headers` are sent besides.
///
/// # Errors
/// The proxy refuses, or is none.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    port: u16,
    headers: &[(String, String)],
) -> Result<(), String> {
    let to = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        // What comes from a file may have line ends.
        request.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\0')));
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let io = |error: std::io::Error| format!("proxyconnect: {error}");
    stream.write_all(&request).await.map_err(io)?;
    stream.flush().await.map_err(io)?;
    let mut reply = Vec::new();
    // Byte by byte: what follows the head belongs to TLS.
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(stream.read_u8().await.map_err(|_| "proxyconnect: unexpected end of the reply".to_owned())?);
        if reply.len() > MAX_REPLY {
            return Err("proxyconnect: the reply is too large".to_owned());
        }
    }
    let line = reply.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let status = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if status.len() == 3 && status.starts_with(b"2") {
        return Ok(());
    }
    Err(format!("proxyconnect: unexpected reply {}", quote(line)))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What the proxy was asked, and what came of its reply.
    async fn ask(host: &str, headers: &[(&str, &str)], reply: &[u8]) -> (String, Result<(), String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut proxy, _) = listener.accept().await.unwrap();
        proxy.write_all(reply).await.unwrap();
        proxy.shutdown().await.unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(owned).collect();
        let result = connect(&mut tcp, host, 443, &headers).await;
        drop(tcp);
        let mut asked = String::new();
        proxy.read_to_string(&mut asked).await.unwrap();
        (asked, result)
    }

    #[tokio::test]
    async fn requests_and_replies() {
        let good = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n";
        let (asked, result) = ask("h", &[("Proxy-Authorization", "Basic x")], good).await;
        assert_eq!(asked, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nProxy-Authorization: Basic x\r\n\r\n");
        assert_eq!(result, Ok(()));
        let (asked, _) = ask("h", &[("X-A", "b\r\nX-B: c\0\n")], good).await;
        assert_eq!(asked, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nX-A: bX-B: c\r\n\r\n", "line ends of a file");
        assert!(ask("::1", &[], good).await.0.starts_with("CONNECT [::1]:443 HTTP/1.1\r\n"));
        let f = async |reply: &[u8]| ask("h", &[], reply).await.1.unwrap_err();
        assert_eq!(
            f(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await,
            "proxyconnect: unexpected reply \"HTTP/1.1 407 Proxy Authentication Required\""
        );
        assert_eq!(f(b"HTTP/1.1 200").await, "proxyconnect: unexpected end of the reply");
        assert_eq!(f(&[b'x'; MAX_REPLY + 1]).await, "proxyconnect: the reply is too large");
    }
}
