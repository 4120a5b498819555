//! Chunked bodies through a real connection: the verdict does not depend on where the stream is cut, and a malformed
//! body never lets another request follow. The first byte chooses the cut.
#![no_main]

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use vmkit::exchange::{HeaderList, Http1Server, Stream, Wire, WireStats};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Body and trailers, and whether the connection was kept; `None` for a malformed body.
async fn read(pieces: [&[u8]; 2]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    // No state of closed connections must be left: there are thousands a second.
    client.set_zero_linger().expect("the option");
    let server = Stream::Plain(listener.accept().await.expect("a connection").0);
    let mut half = Http1Server::new(Wire::new(server, Arc::new(WireStats::default())), Rc::default());
    let sending = async {
        for piece in [HEAD, pieces[0], pieces[1]] {
            client.write_all(piece).await.expect("room for a small input");
            tokio::task::yield_now().await;
        }
        client.shutdown().await.expect("an open connection");
    };
    let reading = async {
        poll_fn(|cx| half.poll_head(cx, &mut || ())).await.expect("the head");
        let mut exchange = half.exchange();
        let mut body = Vec::new();
        let result = loop {
            match exchange.body.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(chunk.data),
                Ok(None) => break Some((body, exchange.body.trailers().map(|list| list.as_http1().to_vec()))),
                Err(_) => break None,
            }
        };
        exchange.reply.send_all(200, &HeaderList::default(), b"").await.expect("room for a small reply");
        assert_eq!(half.finish().await, result.is_some());
        result
    };
    tokio::join!(sending, reading).1
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    if bytes.len() > 60_000 {
        return;
    }
    let (first, second) = bytes.split_at(usize::from(*cut) % (bytes.len() + 1));
    RUNTIME.with(|runtime| {
        let whole = runtime.block_on(read([bytes, b""]));
        assert_eq!(runtime.block_on(read([first, second])), whole);
        if let Some((body, _)) = whole {
            assert!(body.len() < bytes.len());
        }
    });
});
