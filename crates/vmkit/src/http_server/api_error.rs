//! Errors of the process in the form that user interfaces can show (docs/reference/proxying.md).
//!
//! vmui and Grafana parse the reply of an API as JSON before they look at its status, so a plain text becomes an error of
//! their parser. Scripts of browsers get JSON below API paths; everybody else, and people who open such a path, the text.

use super::pages::{Line, push_line, send_plain_error};
use crate::exchange::{HeaderList, ReplyWriter, RequestHead};
use crate::go_text::push_json_text;

/// Answers with an error: as text, or as JSON of the API when a script asks below an API path.
pub async fn send_error(
    head: &RequestHead,
    reply: &mut ReplyWriter,
    common_lines: &HeaderList,
    status: u16,
    message: &str,
    extra: &[Line<'_>],
) {
    if !(is_of_api(head.path()) && is_from_script(head)) {
        return send_plain_error(reply, common_lines, status, message, extra).await;
    }
    let mut lines = common_lines.clone();
    for (name, value) in extra {
        push_line(&mut lines, name, value.as_bytes());
    }
    push_line(&mut lines, "Content-Type", b"application/json");
    push_line(&mut lines, "X-Content-Type-Options", b"nosniff");
    // As VictoriaMetrics answers errors of queries.
    let mut body = format!("{{\"status\":\"error\",\"errorType\":\"{status}\",\"error\":").into_bytes();
    push_json_text(&mut body, message.as_bytes());
    body.push(b'}');
    // A failed write leaves the reply unfinished, which closes the connection.
    let _ = reply.send_all(status, &lines, &body).await;
}

/// Whether the path has the segments of a query API: `/api/v1/…`, whatever stands before.
fn is_of_api(path: &[u8]) -> bool {
    const MARK: &[u8] = b"/api/v";
    memchr::memmem::find_iter(path, MARK)
        .any(|at| matches!(path.get(at + MARK.len()..), Some([digit, b'/', ..]) if digit.is_ascii_digit()))
}

/// Whether a browser says that a script asks, and not somebody who opens the page (W3C Fetch Metadata).
fn is_from_script(head: &RequestHead) -> bool {
    head.values("Sec-Fetch-Site").next().is_some()
        && head.values("Sec-Fetch-Mode").next().is_none_or(|mode| mode != b"navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_apis() {
        let f = |path: &str, want: bool| assert_eq!(is_of_api(path.as_bytes()), want, "{path}");
        f("/api/v1/query", true);
        f("/select/0/prometheus/api/v1/query_range", true);
        f("/api/v2/alerts", true);
        f("/api/v1", false);
        f("/api/vx/api/v1/labels", true);
        f("/vmui/", false);
        f("/select/logsql/query", false);
    }

    #[test]
    fn scripts() {
        let f = |lines: &str, want: bool| {
            let mut head = RequestHead::default();
            head.parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap();
            assert_eq!(is_from_script(&head), want, "{lines}");
        };
        f("", false);
        f("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n", true);
        f("Sec-Fetch-Site: cross-site\r\n", true);
        f("Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", false);
    }
}
