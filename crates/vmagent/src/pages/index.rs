//! `/`: what the program is, and links to its pages.

use super::html::escape;
use super::{HTML, PageReply};
use std::fmt::Write;

/// Paths and what is there; relative, so that they work under a prefix.
const LINKS: [(&str, &str); 9] = [
    ("targets", "status of the targets"),
    ("service-discovery", "what was discovered, and what became of it"),
    ("metric-relabel-debug", "relabeling of metrics, step by step"),
    ("target-relabel-debug", "relabeling of targets, step by step"),
    ("api/v1/targets", "targets as JSON"),
    ("config", "the scrape config in force"),
    ("metrics", "metrics of this process"),
    ("flags", "command-line flags"),
    ("-/reload", "reload the configs"),
];

/// The page for a version.
pub fn answer(version: &str) -> PageReply {
    let mut page = format!("<h2>vmagent</h2>\n<p>Version {}</p>\n<ul>\n", escape(version));
    for (path, what) in LINKS {
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a> - {what}</li>");
    }
    page.push_str("</ul>\n");
    PageReply::new(HTML, page)
}
