//! Writes the header lines of a request for a backend (proxying.md §1 and §2).
//!
//! One pass over the client's lines: hop-by-hop headers go, addresses are joined, the rules of the config are applied
//! last, so that a client cannot nominate them away. Framing (`Content-Length`, `Transfer-Encoding`, `Connection`,
//! `Upgrade`, `Expect`, `Trailer`) is never copied: the caller writes what the body it sends needs.

use vmkit::exchange::{HeaderId, RequestHead};

use super::header_rules::{HeaderRules, HostRule, push_line};
use super::hop_by_hop::{self, Nominated};
use super::jwt_placeholders::PlaceholderError;
use jwt::VmAccess;

/// What the lines depend on besides the head and the rules.
#[derive(Clone, Copy, Debug)]
pub struct ForwardContext<'a> {
    /// Address of the client without port.
    pub client_ip: &'a str,
    /// `-removeXFFHTTPHeaderValue`: forget the addresses the client sent.
    pub remove_xff: bool,
    /// Authority of the target, as by [`super::target_url::TargetUrl::host`].
    pub upstream_host: &'a str,
    /// Values of the token. Without them placeholders stay text.
    pub placeholders: Option<&'a VmAccess>,
}

/// Appends all lines but those of framing. After an error `out` is as before.
pub fn write_request_headers(
    out: &mut Vec<u8>,
    head: &RequestHead,
    rules: &HeaderRules,
    context: &ForwardContext<'_>,
) -> Result<(), PlaceholderError> {
    let start = out.len();
    let configured = push_host(out, head, rules, context).and_then(|()| push_configured(out, rules, context));
    if let Err(error) = configured {
        out.truncate(start);
        return Err(error);
    }
    let nominated = Nominated::of(head.headers());
    let is_nominated = |name: &[u8]| nominated.as_ref().is_some_and(|nominated| nominated.contains(name));
    let mut has_xff = false;
    for line in head.headers() {
        match line.id {
            HeaderId::Host => {}
            HeaderId::XForwardedFor => has_xff = true,
            id if hop_by_hop::ends_here(id) || rules.overridden.contains(id, line.name) || is_nominated(line.name) => {}
            _ => push_line(out, line.name, line.value),
        }
    }
    if !rules.overridden.has_id(HeaderId::XForwardedFor) {
        let keep = has_xff && !context.remove_xff && !is_nominated(b"X-Forwarded-For");
        push_forwarded_for(out, head, context.client_ip, keep);
    }
    Ok(())
}

fn push_forwarded_for(out: &mut Vec<u8>, head: &RequestHead, client_ip: &str, keep: bool) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if keep {
        let lines = head.headers().filter(|line| line.id == HeaderId::XForwardedFor && !line.value.is_empty());
        for line in lines {
            out.extend_from_slice(line.value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(client_ip.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_configured(
    out: &mut Vec<u8>,
    rules: &HeaderRules,
    context: &ForwardContext<'_>,
) -> Result<(), PlaceholderError> {
    out.extend_from_slice(&rules.lines);
    for template in &rules.templates {
        match context.placeholders {
            Some(values) => template.push(out, values)?,
            None => push_line(out, template.name.as_bytes(), template.placeholder.text().as_bytes()),
        }
    }
    Ok(())
}

fn push_host(
    out: &mut Vec<u8>,
    head: &RequestHead,
    rules: &HeaderRules,
    context: &ForwardContext<'_>,
) -> Result<(), PlaceholderError> {
    let host = match &rules.host {
        HostRule::Fixed(host) => host.as_bytes(),
        HostRule::FromToken(template) => {
            let start = out.len();
            if let Some(values) = context.placeholders {
                template.push(out, values)?;
            }
            if out.len() > start {
                return Ok(());
            }
            context.upstream_host.as_bytes()
        }
        // HTTP/1.0 requests may come without a host.
        HostRule::Client if !head.host().is_empty() => head.host(),
        HostRule::Client | HostRule::Target => context.upstream_host.as_bytes(),
    };
    push_line(out, "Host", host);
    Ok(())
}

#[cfg(test)]
mod tests;
