//! Asking a SOCKS5 proxy for a connection (RFC 1928, RFC 1929).

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Lets the proxy connect to `host`; afterwards the stream leads there.
///
/// # Errors
/// The proxy refuses, or is none.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    user_info: Option<(&str, &str)>,
    host: &str,
    port: u16,
) -> Result<(), String> {
    exchange(stream, user_info, host, port).await.map_err(|error| format!("socks connect: {error}"))
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    user_info: Option<(&str, &str)>,
    host: &str,
    port: u16,
) -> Result<(), String> {
    const NO_AUTH: u8 = 0;
    const PASSWORD: u8 = 2;
    let io = |error: std::io::Error| error.to_string();
    let methods: &[u8] = if user_info.is_some() { &[5, 2, NO_AUTH, PASSWORD] } else { &[5, 1, NO_AUTH] };
    send(stream, methods).await.map_err(io)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(io)?;
    match (chosen, user_info) {
        ([5, NO_AUTH], _) => {}
        ([5, PASSWORD], Some((name, password))) => {
            let mut request = vec![1];
            push_text(&mut request, name)?;
            push_text(&mut request, password)?;
            send(stream, &request).await.map_err(io)?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.map_err(io)?;
            if answer[1] != 0 {
                return Err("the proxy refuses the credentials".to_owned());
            }
        }
        _ => return Err("the proxy wants another kind of authentication".to_owned()),
    }
    let mut request = vec![5, 1, 0, 3];
    push_text(&mut request, host.trim_matches(['[', ']']))?;
    request.extend_from_slice(&port.to_be_bytes());
    send(stream, &request).await.map_err(io)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(io)?;
    if head[1] != 0 {
        return Err(format!("the proxy answers with error {}", head[1]));
    }
    let length = match head[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(io)?),
        _ => return Err("the proxy answers with an unknown kind of address".to_owned()),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await.map_err(io)?;
    Ok(())
}

/// TLS may hold back what is not flushed.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn push_text(request: &mut Vec<u8>, text: &str) -> Result<(), String> {
    let length = u8::try_from(text.len()).map_err(|_| "a name is longer than 255 bytes".to_owned())?;
    request.push(length);
    request.extend_from_slice(text.as_bytes());
    Ok(())
}
