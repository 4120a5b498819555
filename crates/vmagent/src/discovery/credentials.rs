//! The `Authorization` header and the TLS options of requests that discovery makes.
//!
//! Files are read for each request, on a thread that may block, so a rotated token is used at once. Texts of errors
//! name files and never what is in them.

use crate::config::{Credentials, SecretSource, TlsOptions};
use base64::Engine;
use std::time::Duration;
use vmkit::tls::client_config::ClientTlsOptions;

/// A hung file system must not hold a request for ever.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The value of the header, if there is one.
pub(super) async fn authorization(credentials: &Credentials) -> Result<Option<String>, String> {
    Ok(match credentials {
        Credentials::None => None,
        Credentials::Basic { username, password } => {
            let pair = format!("{}:{}", read(username).await?, read(password).await?);
            Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        }
        Credentials::Token { scheme, token } => Some(format!("{scheme} {}", read(token).await?)),
        Credentials::OAuth2(_) => return Err("`oauth2` is not supported here yet".to_owned()),
    })
}

/// What the client of the kit takes.
pub(super) fn tls_options(options: &TlsOptions) -> ClientTlsOptions {
    ClientTlsOptions {
        ca_file: options.ca_file.clone(),
        cert_file: options.cert_file.clone(),
        key_file: options.key_file.clone(),
        server_name: options.server_name.clone(),
        insecure_skip_verify: options.insecure_skip_verify,
        min_version: options.min_version.clone(),
    }
}

async fn read(source: &SecretSource) -> Result<String, String> {
    match source {
        SecretSource::Text(text) => Ok(text.expose().to_owned()),
        SecretSource::File(path) => {
            let owned = path.clone();
            let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(owned));
            let read = tokio::time::timeout(READ_LIMIT, read).await;
            let text =
                read.map_err(|_| format!("cannot read {path:?}: timeout"))?.map_err(|error| error.to_string())?;
            let text = text.map_err(|error| format!("cannot read {path:?}: {}", vmkit::go_text::os_error(&error)))?;
            Ok(text.trim_end().to_owned())
        }
    }
}
