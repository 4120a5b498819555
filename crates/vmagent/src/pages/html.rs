//! The frame of HTML pages, and escaping.

use std::fmt::Write;

/// Small on purpose; follows the reader's choice of light or dark.
const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--up:#2a8a3e;--down:#c0392b;--off:#8a7a2a}
body{font:14px/1.45 system-ui,sans-serif;margin:0 1rem 2rem}
header{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;align-items:baseline;border-bottom:1px solid var(--line);padding:.7rem 0}
header strong{font-size:1.1rem}
h1{font-size:1.2rem;margin:1rem 0 .6rem}
h2{font-size:1rem;margin:0;display:inline}
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin:.6rem 0}
input,textarea,button,select{font:inherit;padding:.25rem .45rem}
input[type=text]{min-width:18rem}
textarea{width:100%;box-sizing:border-box;font-family:ui-monospace,monospace;font-size:13px}
table{border-collapse:collapse;width:100%;margin:.4rem 0 1rem}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
th{white-space:nowrap;font-weight:600}
td.n{text-align:right;white-space:nowrap}
code,pre{font-family:ui-monospace,monospace;font-size:12.5px;overflow-wrap:anywhere;white-space:pre-wrap;margin:0}
summary{cursor:pointer;padding:.2rem 0}
.up{color:var(--up);font-weight:600}.down{color:var(--down);font-weight:600}.off{color:var(--off);font-weight:600}
.error{color:var(--down)}.note{opacity:.75}
ins{text-decoration:none;background:#2a8a3e33}del{background:#c0392b33}
";

/// A page with the given title and content, which must be HTML already.
pub(super) fn page(title: &str, tabs: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header><strong>vmagent</strong>{tabs}</header>\n<main>\n\
         <h1>{title}</h1>\n{content}</main>\n</body>\n</html>\n",
        title = escape(title),
    )
}

/// Links between the pages; `query` is kept by those that understand it.
pub(super) fn tabs(query: &str) -> String {
    let keep = if query.is_empty() { String::new() } else { format!("?{}", escape(query)) };
    format!(
        "<a href=\"targets{keep}\">Targets</a><a href=\"service-discovery{keep}\">Service discovery</a>\
         <a href=\"metric-relabel-debug\">Metric relabeling</a><a href=\"target-relabel-debug\">Target relabeling</a>\
         <a href=\"config\">Config</a>"
    )
}

/// Text for content and attribute values.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text);
    escaped
}

/// [`escape`] onto the end of a page.
pub(super) fn push_escaped(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

/// `<code>` with escaped text.
pub(super) fn push_code(page: &mut String, text: &str) {
    page.push_str("<code>");
    push_escaped(page, text);
    page.push_str("</code>");
}

/// One hidden field of a form, if it has a value.
pub(super) fn push_hidden(page: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = write!(page, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    }
}

/// A text field of a form.
pub(super) fn push_field(page: &mut String, name: &str, placeholder: &str, value: &str) {
    let _ = write!(
        page,
        "<input type=\"text\" name=\"{name}\" placeholder=\"{}\" aria-label=\"{}\" value=\"{}\">",
        escape(placeholder),
        escape(placeholder),
        escape(value)
    );
}
