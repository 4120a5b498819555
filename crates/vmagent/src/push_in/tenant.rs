//! Whose samples they are, told by the path or by headers.

use vmkit::go_text::quote;

/// A tenant; `None` when the labels of the series say it themselves (`multitenant`).
pub(super) type Tenant = Option<(u32, u32)>;

/// Splits what follows `/insert/` into a tenant and a suffix, or takes all of it as suffix when no tenant is there.
pub(super) fn split(rest: &str, in_headers: bool) -> (Option<&str>, &str) {
    let (first, suffix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_number =
        !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()) && first.parse::<u32>().is_ok();
    let has_colon = first.find(':').is_some_and(|at| at > 0);
    if !in_headers || first == "multitenant" || is_number || has_colon { (Some(first), suffix) } else { (None, rest) }
}

/// The tenant of `account[:project]` or `multitenant`.
///
/// # Errors
/// The text for the client.
pub(super) fn parse(text: &str) -> Result<Tenant, String> {
    if text == "multitenant" {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split(':').collect();
    let number = |name: &str, part: &str| {
        part.parse::<u32>().ok().filter(|_| !part.starts_with('+')).ok_or_else(|| {
            format!("cannot obtain auth token: cannot parse {name} from {}: want a number below 2^32", quote(part))
        })
    };
    match parts[..] {
        [account] => Ok(Some((number("accountID", account)?, 0))),
        [account, project] => Ok(Some((number("accountID", account)?, number("projectID", project)?))),
        _ => Err(format!(
            "cannot obtain auth token: unexpected number of items in authToken {}; got {}; want 1 or 2",
            quote(text),
            parts.len()
        )),
    }
}

/// The tenant of the headers `AccountID` and `ProjectID`; a missing one is 0.
///
/// # Errors
/// The text for the client.
pub(super) fn of_headers(account: Option<&str>, project: Option<&str>) -> Result<Tenant, String> {
    let account = account.filter(|text| !text.is_empty()).unwrap_or("0");
    if account == "multitenant" {
        return Ok(None);
    }
    parse(&format!("{account}:{}", project.filter(|text| !text.is_empty()).unwrap_or("0")))
}
