//! `vmauth explain`.

use super::words::Words;
use super::{CommandError, Output};
use crate::app::{Start, inspection};
use crate::explain::{self, Asked};

pub(super) async fn run(start: &Start, words: &Words) -> Result<Output, CommandError> {
    let usage = |text: String| CommandError::Usage(text, "explain");
    let request = request(words).map_err(usage)?;
    let asked = Asked::new(&request).map_err(|error| usage(error.to_string()))?;
    let files = inspection::read(start).await?;
    let config = inspection::parsed(start, &files)?;
    let offline = words.is_set("offline");
    let settings = inspection::explain_settings(start, offline);
    // Providers are only asked when something hangs on their keys.
    let asks_providers = !offline && asked.brings_token(&settings);
    let generation = inspection::built(start, config, offline, asks_providers).await;
    let answer = explain::explain(&settings, &generation, &asked).await;
    let with_secrets = words.is_set("secrets");
    let stdout = match words.is_set("json") {
        true => format!("{:#}\n", answer.json(with_secrets)),
        false => answer.text(with_secrets),
    };
    Ok(Output { code: i32::from(!answer.is_allowed()), stdout })
}

fn request(words: &Words) -> Result<explain::Words, String> {
    let (method, url) = match words.operands.as_slice() {
        [url] => (None, url),
        [method, url] => (Some(method.as_str()), url),
        _ => return Err("which request? Write a URL such as http://host/path or /path".to_owned()),
    };
    let owned = |name: &str| words.value(name).map(str::to_owned);
    Ok(explain::Words {
        method: words.value("method").or(method).unwrap_or_default().to_owned(),
        url: url.clone(),
        headers: words.values("header").to_vec(),
        basic: owned("user"),
        bearer: owned("bearer"),
        body: owned("data"),
        client: match words.value("client") {
            Some(text) => Some(text.parse().map_err(|_| format!("-client: {text:?} is no IP address"))?),
            None => None,
        },
        certificate: words.value("cert").map(explain::subject).transpose()?,
    })
}
