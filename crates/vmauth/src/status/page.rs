//! The state of the process as HTML: works without scripts, and a small one keeps it live.
//!
//! Style and script are files of their own, so that a strict `-http.header.csp` lets them pass. All links are relative:
//! the page may stand behind `-http.pathPrefix`. Everything that is not written here is escaped.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::model::{
    Backend, Certificate, Check, FailingAddress, Issuer, Latency, List, Load, Logging, Logins, Requests, Status, User,
};
use super::token_check::{Outcome, TokenCheck};

/// Appends to a page; writing to a string cannot fail.
macro_rules! push {
    ($page:expr, $($text:tt)+) => {
        let _ = write!($page, $($text)+);
    };
}

/// The page. `query` is that of the request without its `?`: links and forms keep its key.
pub(super) fn status(status: &Status, query: &str) -> String {
    let mut main = String::new();
    summary(&mut main, status);
    requests(&mut main, &status.requests);
    logins(&mut main, &status.logins, status.now);
    backends(&mut main, &status.backends, status.now);
    users(&mut main, &status.users, query);
    issuers(&mut main, &status.issuers, status.now);
    certificates(&mut main, &status.certificates, status.now);
    loads(&mut main, status);
    let mut rest = String::new();
    token_form(&mut rest, query);
    logging(&mut rest, &status.logging, query);
    page("vmauth status", query, &format!("<main>{main}</main>{rest}"))
}

/// The page of a token.
pub(super) fn token(check: &TokenCheck, query: &str) -> String {
    let mut body = String::new();
    let (class, verdict) = if check.accepted { ("ok", "accepted") } else { ("failed", "refused") };
    push!(body, "<h2>The token is <span class=\"{class}\" id=\"verdict\">{verdict}</span></h2>");
    if let Some(user) = &check.user {
        push!(body, "<p>User: <code>{}</code></p>", escape(user));
    }
    if let Some(cause) = check.cause {
        push!(body, "<p>Cause: <code>{cause}</code></p>");
    }
    body.push_str("<table id=\"steps\"><tr><th>Check</th><th>Result</th><th></th></tr>");
    for step in &check.steps {
        let (class, word) = match step.outcome {
            Outcome::Ok => ("ok", "ok"),
            Outcome::Failed => ("failed", "failed"),
            Outcome::Note => ("note", "note"),
        };
        push!(body, "<tr><td>{}</td><td class=\"{class}\">{word}</td>", step.check);
        push!(body, "<td><code>{}</code></td></tr>", escape(&step.text));
    }
    body.push_str("</table>");
    token_form(&mut body, query);
    // One level deeper than the state.
    page("vmauth token", query, &body)
}

/// The effective config.
pub(super) fn config(text: &str, query: &str) -> String {
    page("vmauth config", query, &format!("<h2>Effective config</h2><pre id=\"config\">{}</pre>", escape(text)))
}

fn page(title: &str, query: &str, body: &str) -> String {
    let keep = kept(query);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"status.css\">\n</head>\n<body>\n<header><strong>vmauth</strong>\
         <a href=\"status{keep}\">Status</a><a href=\"status-config{keep}\">Effective config</a>\
         <a href=\"status{json}\">JSON</a><span id=\"live\"></span></header>\n{body}{script}</body>\n</html>\n",
        json = if keep.is_empty() { "?format=json".to_owned() } else { format!("{keep}&amp;format=json") },
        script = if title == "vmauth status" { "<script src=\"status.js\"></script>\n" } else { "" },
    )
}

/// `?authKey=…` when the request had a key; escaped.
fn kept(query: &str) -> String {
    let key = query.split('&').find(|pair| pair.starts_with("authKey="));
    key.map_or_else(String::new, |key| format!("?{}", escape(key)))
}

fn summary(page: &mut String, status: &Status) {
    let connections: usize = status.workers.iter().map(|worker| worker.connections).sum();
    let by_worker: Vec<_> = status.workers.iter().map(|worker| worker.connections.to_string()).collect();
    push!(page, "<p><code>{}</code>, up for {}.", escape(&status.version), span(status.now, status.started));
    push!(page, " <span id=\"connections\">{connections}</span> connections of clients");
    push!(page, " on {} workers ({}).</p>", by_worker.len(), by_worker.join(", "));
}

fn requests(page: &mut String, requests: &Requests) {
    push!(page, "<h2>Requests</h2><p>{} of {} are running.</p>", requests.in_flight, requests.limit);
    page.push_str("<table id=\"requests\"><tr><th>Responses</th><th>Cut by</th><th>Failed logins</th></tr>");
    push!(page, "<tr><td>{}</td><td>{}</td>", numbers(&requests.responses), numbers(&requests.cut));
    push!(
        page,
        "<td>{}; without credentials {}</td></tr></table>",
        numbers(&requests.failed_logins),
        requests.missing_credentials
    );
}

/// Nothing while nobody fails and nobody waits.
fn logins(page: &mut String, logins: &Logins, now: u64) {
    let addresses = &logins.addresses;
    if logins.password_checks > 0 || logins.password_checks_waiting > 0 {
        push!(page, "<p id=\"checks\">Passwords checked: {}", logins.password_checks);
        push!(page, "; waiting: {}; refused: {}.</p>", logins.password_checks_waiting, logins.password_checks_refused);
    }
    if addresses.total == 0 {
        return;
    }
    push!(page, "<h2>Addresses with failed logins ({})</h2>", addresses.total);
    page.push_str("<table id=\"logins\"><tr><th>Address</th><th>Failed</th><th>Since</th><th>Forgotten in</th>");
    page.push_str("<th>Next answer after</th></tr>");
    for FailingAddress { address, failures, since, until, wait: [least, most] } in &addresses.items {
        push!(page, "<tr><td><code>{}</code></td><td class=\"n\">{failures}</td>", escape(address));
        push!(page, "<td>{} ago</td><td>{}</td>", span(now, *since), span(*until, now));
        push!(page, "<td>{least} to {most} s</td></tr>");
    }
    page.push_str("</table>");
}

fn backends(page: &mut String, backends: &List<Backend>, now: u64) {
    push!(page, "<h2>Backends ({})</h2>", backends.total);
    page.push_str(
        "<table id=\"backends\"><tr><th>Address</th><th>State</th><th>Since</th><th>In flight</th><th>Tries</th>\
         <th>Failed</th><th>Last failure</th><th>Health check</th><th>Responses</th><th>p50, p90, p99</th>\
         <th>Idle connections</th><th>Routes</th></tr>",
    );
    for backend in &backends.items {
        let since = backend.since.map_or_else(String::new, |since| format!("{} ago", span(now, since)));
        push!(page, "<tr><td><code>{}</code></td>", escape(&backend.address));
        push!(page, "<td class=\"{0}\">{0}</td><td>{since}</td>", backend.state);
        push!(page, "<td class=\"n\">{}</td><td class=\"n\">{}</td>", backend.in_flight, backend.attempts);
        push!(page, "<td>{}", numbers(&backend.failures));
        if let Some(ejections @ 1..) = backend.ejections {
            push!(page, "; ejected {ejections} times");
        }
        page.push_str("</td><td>");
        if let Some(last) = &backend.last_failure {
            push!(page, "{} ago: <code>{}</code>", span(now, last.at), escape(&last.text));
        }
        page.push_str("</td><td>");
        backend.checks.iter().for_each(|check| health_check(page, check, now));
        push!(page, "</td><td>{}</td><td class=\"n\">{}</td>", numbers(&backend.responses), latency(backend.latency));
        push!(page, "<td class=\"n\">{}</td>", backend.pool.idle + backend.pool.shared);
        push!(page, "<td class=\"n\">{}</td></tr>", backend.routes);
    }
    page.push_str("</table>");
    more(page, backends);
}

fn health_check(page: &mut String, check: &Check, now: u64) {
    push!(page, "<div><span class=\"{0}\">{0}</span> <code>{1}</code>", check.state, escape(&check.path));
    match &check.last {
        Some(last) => {
            push!(page, ", {} ago: <code>{}</code>", span(now, last.at), escape(&last.text));
            push!(page, " in {:.3}s, {} probes", last.took, check.probes);
        }
        None => page.push_str(", not asked yet"),
    }
    page.push_str("</div>");
}

/// Three times in the units that make them short.
fn latency(latency: Option<Latency>) -> String {
    let Some(Latency { p50, p90, p99, .. }) = latency else { return String::new() };
    let shown = |seconds: f64| match seconds {
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        0.001..1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    };
    format!("{}, {}, {}", shown(p50), shown(p90), shown(p99))
}

fn users(page: &mut String, users: &List<User>, query: &str) {
    push!(page, "<h2>Users ({})</h2>", users.total);
    if let Some(next) = next_offset(users) {
        let keep = kept(query);
        let separator = if keep.is_empty() { "?" } else { "&amp;" };
        push!(
            page,
            "<p><a href=\"status{keep}{separator}offset={next}\">next users</a>; <code>?user=NAME</code> finds one</p>"
        );
    }
    page.push_str(
        "<table id=\"users\"><tr><th>User</th><th>In flight</th><th>Limit</th><th>Requests</th><th>Errors</th>\
         <th>Failed tries</th><th>Over limit</th><th>Denied by address</th><th>Denied by path</th></tr>",
    );
    for (place, user) in users.items.iter().enumerate() {
        push!(page, "<tr><td><code>{}</code></td>", escape(&user.name));
        for number in [
            u64::from(user.in_flight),
            u64::from(user.limit),
            user.requests,
            user.request_errors,
            user.backend_errors,
            user.limit_reached,
            user.ip_denies,
            user.path_denies,
        ] {
            push!(page, "<td class=\"n\">{number}</td>");
        }
        page.push_str("</tr><tr><td colspan=\"9\">");
        push!(
            page,
            "<details id=\"user-{}\"><summary>routes: {} <code>{}</code></summary>",
            users.offset + place,
            user.routes.len(),
            escape(&user.place)
        );
        for route in &user.routes {
            push!(page, "<div><code>{}</code> {}<ul>", escape(&route.place), escape(&route.takes));
            for backend in &route.backends {
                push!(page, "<li><code>{}</code> <span class=\"{1}\">{1}</span>", escape(&backend.url), backend.state);
                if backend.weight != 1 {
                    push!(page, ", weight {}", backend.weight);
                }
                for mark in &backend.marks {
                    push!(page, ", {mark}");
                }
                push!(
                    page,
                    ", {} in flight, {} of {} tries failed</li>",
                    backend.in_flight,
                    backend.failures,
                    backend.attempts
                );
            }
            page.push_str("</ul></div>");
        }
        page.push_str("</details></td></tr>");
    }
    page.push_str("</table>");
    more(page, users);
}

fn issuers(page: &mut String, issuers: &[Issuer], now: u64) {
    if issuers.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Identity providers</h2><table id=\"issuers\"><tr><th>Provider</th><th>Keys</th><th>Fetched</th>\
         <th>Next</th><th>Failures</th><th>Wrong now</th></tr>",
    );
    for issuer in issuers {
        let fetched = issuer.last_success.map_or_else(|| "never".to_owned(), |at| format!("{} ago", span(now, at)));
        let next = issuer.next_fetch.map_or_else(|| "now".to_owned(), |at| format!("in {}", span(at, now)));
        push!(page, "<tr><td><code>{}</code></td><td class=\"n\">{}</td>", escape(&issuer.location), issuer.keys);
        push!(page, "<td>{fetched}</td><td>{next}</td><td class=\"n\">{}</td>", issuer.failures);
        push!(page, "<td class=\"down\">{}</td></tr>", escape(issuer.last_error.as_deref().unwrap_or_default()));
    }
    page.push_str("</table>");
}

fn certificates(page: &mut String, certificates: &[Certificate], now: u64) {
    if certificates.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Certificates</h2><table id=\"certificates\"><tr><th>Where</th><th>Subject</th><th>File</th><th>Ends</th>\
         </tr>",
    );
    for certificate in certificates {
        let left = certificate.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        let ends = match &certificate.problem {
            Some(problem) => escape(problem),
            None if left < 0 => "has ended".to_owned(),
            None => format!("in {}", span(u64::try_from(left).unwrap_or(0), 0)),
        };
        let class = if left < 7 * 86_400 { "down" } else { "" };
        push!(
            page,
            "<tr><td>{}</td><td><code>{}</code></td>",
            escape(&certificate.place),
            escape(&certificate.subject)
        );
        push!(page, "<td><code>{}</code></td><td class=\"{class}\">{ends}</td></tr>", escape(&certificate.file));
    }
    page.push_str("</table>");
}

fn loads(page: &mut String, status: &Status) {
    let config = &status.config;
    push!(page, "<h2>Config</h2><p><code>{}</code>", escape(&config.source));
    if let Some(hash) = &config.sha256 {
        push!(page, ", SHA-256 <code id=\"config-hash\">{hash}</code>");
    }
    page.push_str("</p>");
    if !config.files.is_empty() {
        page.push_str("<table id=\"files\"><tr><th>File</th><th>SHA-256</th></tr>");
        for file in &config.files {
            push!(page, "<tr><td><code>{}</code></td><td><code>{}</code></td></tr>", escape(&file.name), file.sha256);
        }
        page.push_str("</table>");
    }
    page.push_str("<table id=\"loads\"><tr><th>Loaded</th><th>Result</th></tr>");
    for load in &config.loads {
        push!(page, "<tr><td>{} ago</td><td>{}</td></tr>", span(status.now, load.at), load_result(load));
    }
    page.push_str("</table>");
}

fn load_result(load: &Load) -> String {
    let times = if load.times > 1 { format!(", {} times in a row", load.times) } else { String::new() };
    match &load.problems {
        Some(problems) => format!("<span class=\"down\">failed{times}</span><pre>{}</pre>", escape(problems)),
        None => format!("<span class=\"up\">serves</span>, {} users", load.users.unwrap_or_default()),
    }
}

/// Forms send plain text, since the body of a page with a key is read for that key otherwise.
fn token_form(page: &mut String, query: &str) {
    push!(
        page,
        "<h2>Check a token</h2><form method=\"post\" action=\"status-token{}\" enctype=\"text/plain\">",
        kept(query)
    );
    page.push_str(
        "<textarea name=\"token\" rows=\"3\" aria-label=\"token\" placeholder=\"A token; it is checked here and neither \
         logged nor kept\"></textarea><button>Check</button></form>",
    );
}

fn logging(page: &mut String, logging: &Logging, query: &str) {
    push!(page, "<h2>Logging</h2><p>Level <code>{}</code>; details of refused credentials ", logging.level);
    push!(page, "<code>{}</code>.</p>", if logging.log_invalid_auth_tokens { "on" } else { "off" });
    for user in &logging.users {
        push!(
            page,
            "<p>User <code>{}</code>: credentials {}, ",
            escape(&user.user),
            on_off(user.log_invalid_auth_tokens)
        );
        push!(page, "access log {}.</p>", on_off(user.access_log));
    }
    push!(page, "<form method=\"post\" action=\"status-logging{}\" enctype=\"text/plain\">", kept(query));
    page.push_str("<select name=\"level\" aria-label=\"level\"><option value=\"\">level</option>");
    for level in ["INFO", "WARN", "ERROR"] {
        push!(page, "<option>{level}</option>");
    }
    page.push_str(
        "</select><select name=\"logInvalidAuthTokens\" aria-label=\"logInvalidAuthTokens\">\
         <option value=\"\">credentials</option><option>true</option><option>false</option></select>\
         <input name=\"user\" aria-label=\"user\" placeholder=\"one user\">\
         <select name=\"accessLog\" aria-label=\"accessLog\"><option value=\"\">access log</option><option>true</option>\
         <option>false</option></select><button>Switch</button></form>",
    );
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn next_offset<T>(list: &List<T>) -> Option<usize> {
    let next = list.offset + list.items.len();
    (next < list.total && !list.items.is_empty()).then_some(next)
}

fn more<T>(page: &mut String, list: &List<T>) {
    if list.items.len() < list.total {
        push!(page, "<p>{} of {} are shown.</p>", list.items.len(), list.total);
    }
}

fn numbers<K: Display, V: Display>(numbers: &BTreeMap<K, V>) -> String {
    let all: Vec<_> = numbers.iter().map(|(name, number)| format!("{name}: {number}")).collect();
    escape(&all.join(", "))
}

/// From the second time to the first, in the two largest units.
fn span(later: u64, earlier: u64) -> String {
    let seconds = later.saturating_sub(earlier);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Text for content and attribute values.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let f = |seconds: u64, want: &str| assert_eq!(span(seconds + 7, 7), want);
        f(59, "59 s");
        f(61, "1 min 1 s");
        f(3 * 3600 + 120, "3 h 2 min");
        f(2 * 86_400 + 3600, "2 d 1 h");
        assert_eq!(span(1, 2), "0 s");
    }

    #[test]
    fn keys_are_kept_and_texts_are_escaped() {
        assert_eq!(kept("a=b&authKey=\"x"), "?authKey=&quot;x");
        assert_eq!(kept("offset=3"), "");
        let page = config("<script>\"&'", "authKey=k");
        assert!(
            page.contains("&lt;script&gt;&quot;&amp;&#39;") && page.contains("href=\"status?authKey=k\""),
            "{page}"
        );
    }
}
