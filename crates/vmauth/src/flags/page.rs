//! The documentation page of the flags, generated from the table.

use super::{app_info, groups};

/// Content of `docs/flags-vmauth.md`.
pub fn docs_page() -> String {
    let introduction = "Generated from the flag table; to change a text, change the table and run `UPDATE_DOCS=1 cargo test -p vmauth flags`.\n\n\
        Flags are written `-name=value` or `-name value`, with one or two dashes; booleans only as `-name` or `-name=value`. \
        Arrays take several values, separated by commas or by repeating the flag; commas inside quotes and brackets do not \
        separate. Arrays that belong to listeners go by position, and a single value serves all of them. Every `%{NAME}` is \
        replaced by the environment variable of that name. Values of type `value` may also be `file:///path` or \
        `http(s)://host/path`, which is then read again every one or two seconds.";
    vmkit::flags::markdown_page(&app_info(), introduction, &groups())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_table_generates() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags-vmauth.md");
        testkit::golden::expect_page(&path, &docs_page(), "cargo test -p vmauth flags");
    }
}
