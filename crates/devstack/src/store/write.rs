//! Remote write 1.0 into a tenant: zstd or snappy, a message as a whole or not at all.
//!
//! An empty GET is answered as a real store does it, with 204: that is how the guide checks a token by hand.

use std::time::SystemTime;

use vmagent::remote_write::{Encoding, SeriesBlock, decode, unpack};
use vmkit::http_server::{Reply, Request};

use super::{Store, Write};
use crate::tenant::Tenant;

/// Largest body, packed and unpacked.
const MAX_BODY: usize = 32 << 20;

impl Store {
    pub(super) async fn write(&self, request: &mut Request<'_>, tenant: Tenant, path: &str) -> Reply {
        let body = match request.read_body(MAX_BODY).await {
            Ok(body) => body,
            Err(error) => return Reply::error(error.status(), &error.to_string()),
        };
        let block = match read(&body) {
            Ok(block) => block,
            Err(error) => return Reply::error(400, &error),
        };
        let write = Write {
            path: path.to_owned(),
            tenant,
            encoding: super::encoding_name(&body),
            samples: block.sample_count(),
            authorization: request.header("authorization").map(str::to_owned),
            at: SystemTime::now(),
        };
        self.take(&block, write);
        Reply::no_content()
    }
}

fn read(body: &[u8]) -> Result<SeriesBlock, String> {
    if body.is_empty() {
        return Ok(SeriesBlock::new());
    }
    let message =
        unpack(Encoding::of(body), body, MAX_BODY).map_err(|error| format!("cannot unpack the body: {error}"))?;
    let mut block = SeriesBlock::new();
    decode(&message, &mut block).map_err(|error| format!("cannot decode the body: {error}"))?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step ends the test")]

    use vmagent::remote_write::Packer;

    use super::*;

    #[test]
    fn both_encodings_are_read_and_garbage_is_not() {
        // WriteRequest{timeseries: [{labels: [{name: "a", value: "b"}], samples: [{value: 1, timestamp: 5}]}]}
        let message = b"\x0a\x15\x0a\x06\x0a\x01a\x12\x01b\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x05";
        let mut packer = Packer::new(1).unwrap();
        for encoding in [Encoding::Zstd, Encoding::Snappy] {
            let body = packer.pack(encoding, message).unwrap();
            let block = read(&body).unwrap();
            assert_eq!((block.series_count(), block.sample_count()), (1, 1), "{encoding:?}");
            assert_eq!(super::super::encoding_name(&body), encoding.name());
            let cut = packer.pack(encoding, &message[..9]).unwrap();
            assert!(read(&cut).unwrap_err().contains("cannot decode"), "{encoding:?}");
        }
        assert!(read(b"garbage, no doubt").unwrap_err().contains("cannot unpack"));
    }
}
