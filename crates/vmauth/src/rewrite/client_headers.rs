//! Writes the header fields of a request for a backend (RFC 9110 §7.6).
//!
//! One pass over the client's lines: hop-by-hop headers go, addresses are joined, the rules of the config are applied
//! last, so that a client cannot nominate them away. A name that some server would take for one of those that are
//! written here or configured (`X_Scope_OrgID` beside `X-Scope-OrgID`) goes as well. Fields about framing are never
//! copied: the codec of the backend writes what the body needs, and `Host` from the authority.

use std::convert::Infallible;

use vmkit::exchange::{HeaderId, HeaderWriter, RequestHead};

use super::header_rules::{HeaderRules, HostRule};
use super::hop_by_hop::{self, Nominated};
use super::jwt_placeholders::PlaceholderError;
use jwt::VmAccess;

/// What the fields depend on besides the head and the rules.
#[derive(Clone, Copy, Debug)]
pub struct ForwardContext<'a> {
    /// Address of the client without port; empty when it has none.
    pub client_ip: &'a str,
    /// `-removeXFFHTTPHeaderValue`: forget the addresses the client sent.
    pub remove_xff: bool,
    /// Values of the token. Without them placeholders stay text.
    pub placeholders: Option<&'a VmAccess>,
    /// Header and id of the request, in place of what the client sent there.
    pub request_id: Option<(&'a str, &'a str)>,
}

/// Writes all fields but `Host` and those of framing.
pub fn write_request_headers(
    out: &mut HeaderWriter<'_>,
    head: &RequestHead,
    rules: &HeaderRules,
    context: &ForwardContext<'_>,
) -> Result<(), PlaceholderError> {
    push_configured(out, rules, context)?;
    // A header of the config stays what the config says.
    let request_id =
        context.request_id.filter(|(name, _)| !rules.overridden.contains(HeaderId::Other, name.as_bytes()));
    if let Some((name, id)) = request_id {
        out.line(name.as_bytes(), id.as_bytes());
    }
    let is_replaced = |name: &[u8]| request_id.is_some_and(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name));
    let nominated = head.first(HeaderId::Connection).and_then(|_| Nominated::of(head.headers()));
    let is_nominated = |name: &[u8]| nominated.as_ref().is_some_and(|nominated| nominated.contains(name));
    let mut has_xff = false;
    for line in head.headers() {
        match line.id {
            HeaderId::Host => {}
            HeaderId::XForwardedFor => has_xff = true,
            id if hop_by_hop::ends_here(id) || rules.overridden.contains(id, line.name) || is_nominated(line.name) => {}
            HeaderId::Other if HeaderId::of_twin(line.name) != HeaderId::Other || is_replaced(line.name) => {}
            _ => out.copy(&line),
        }
    }
    if !rules.overridden.has_id(HeaderId::XForwardedFor) {
        let keep = has_xff && !context.remove_xff && !is_nominated(b"X-Forwarded-For");
        push_forwarded_for(out, head, context.client_ip, keep);
    }
    Ok(())
}

fn push_forwarded_for(out: &mut HeaderWriter<'_>, head: &RequestHead, client_ip: &str, keep: bool) {
    const NAME: &[u8] = b"X-Forwarded-For";
    match (keep, client_ip.is_empty()) {
        (true, _) => {}
        (false, false) => return out.line(NAME, client_ip.as_bytes()),
        // A client at a unix socket has no address.
        (false, true) => return,
    }
    let lines = head.headers().filter(|line| line.id == HeaderId::XForwardedFor && !line.value.is_empty());
    let Ok(()) = out.line_with(NAME, |value| {
        let mut separator: &[u8] = b"";
        for line in lines {
            value.extend_from_slice(separator);
            value.extend_from_slice(line.value);
            separator = b", ";
        }
        if !client_ip.is_empty() {
            value.extend_from_slice(separator);
            value.extend_from_slice(client_ip.as_bytes());
        }
        Ok::<_, Infallible>(())
    });
}

fn push_configured(
    out: &mut HeaderWriter<'_>,
    rules: &HeaderRules,
    context: &ForwardContext<'_>,
) -> Result<(), PlaceholderError> {
    out.list(&rules.lines);
    for template in &rules.templates {
        match context.placeholders {
            Some(values) => {
                out.line_with(template.name.as_bytes(), |value| template.push_value(value, values))?;
            }
            None => out.line(template.name.as_bytes(), template.placeholder.text().as_bytes()),
        }
    }
    Ok(())
}

/// The authority that a backend is asked for: `Host` of HTTP/1. `buffer` is room for one that comes from a token.
pub fn authority<'a>(
    head: &'a RequestHead,
    rules: &'a HeaderRules,
    upstream_host: &'a str,
    placeholders: Option<&VmAccess>,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], PlaceholderError> {
    Ok(match &rules.host {
        HostRule::Fixed(host) => host.as_bytes(),
        HostRule::FromToken(template) => {
            buffer.clear();
            if let Some(values) = placeholders {
                template.push_value(buffer, values)?;
            }
            if buffer.is_empty() { upstream_host.as_bytes() } else { buffer }
        }
        // HTTP/1.0 requests may come without a host.
        HostRule::Client if !head.host().is_empty() => head.host(),
        HostRule::Client | HostRule::Target => upstream_host.as_bytes(),
    })
}

#[cfg(test)]
mod tests;
