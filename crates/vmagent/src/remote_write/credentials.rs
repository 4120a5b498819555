//! How a URL is authenticated to: the `Authorization` header of each request.
//!
//! Secrets in files are read again when they are a second old, so a rotated one needs no restart; one that cannot be
//! read fails the attempt and never the queue. Nothing here shows a secret.

use base64::Engine;
use std::sync::Arc;
use vmkit::oauth2::{Authorization, SecretFile, TokenSource};
use vmkit::secret::Secret;

/// A secret or the file it is in.
#[derive(Debug)]
pub enum SecretSource {
    /// Given on the command line; may be empty.
    Text(Secret),
    /// Read when needed.
    File(Box<SecretFile>),
}

/// What proves who we are.
#[derive(Debug, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// User name and password.
    Basic(SecretSource, SecretSource),
    /// A token that others have issued.
    Bearer(SecretSource),
    /// Tokens that we ask for.
    OAuth2(Arc<TokenSource>),
}

/// Value of the header, and the token to be given up when it is refused.
pub(crate) struct Header {
    pub(crate) value: Secret,
    pub(crate) token: Option<Authorization>,
}

impl SecretSource {
    async fn get(&self) -> Result<Secret, String> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => file.get().await,
        }
    }
}

impl Credentials {
    /// The header of a request now.
    pub(crate) async fn header(&self) -> Result<Option<Header>, String> {
        let failed = |err: String| format!("failed to obtain Authorization request header: {err}");
        let plain = |value: String| Header { value: value.into(), token: None };
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Basic(user, password) => {
                let (user, password) = (user.get().await.map_err(failed)?, password.get().await.map_err(failed)?);
                let pair = format!("{}:{}", user.expose(), password.expose());
                plain(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
            Self::Bearer(token) => plain(format!("Bearer {}", token.get().await.map_err(failed)?.expose())),
            Self::OAuth2(tokens) => {
                let authorization = tokens.authorization().await.map_err(|err| failed(err.to_string()))?;
                Header { value: authorization.value.clone(), token: Some(authorization) }
            }
        }))
    }

    /// The remote has answered 401. True if the next request will have another token.
    pub(crate) fn refuse(&self, token: Option<&Authorization>) {
        if let (Self::OAuth2(tokens), Some(token)) = (self, token) {
            tokens.refuse(token);
        }
    }
}
