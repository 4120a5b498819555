//! Pages under `docs/` as tests read them: fenced blocks, so that examples can be run, and code spans, so that names can
//! be looked up. Markdown beyond these two is not parsed.

use std::fs;
use std::path::Path;

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Words behind the opening fence, such as `yaml invalid`.
    pub info: String,
    /// Number of its first line, for failure messages.
    pub line: usize,
    /// The lines between the fences.
    pub text: String,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Name of the file without its folder.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Page {
    /// Reads one file.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { name, text }
    }

    /// Reads all pages of a folder that `wanted` accepts by name, sorted by name.
    #[track_caller]
    pub fn folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).filter(|page| wanted(&page.name)).collect()
    }

    /// All fenced blocks in their order.
    #[track_caller]
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(info), None) => {
                    open = Some(Block { info: info.trim().to_owned(), line: index + 2, text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is never closed", self.name);
        blocks
    }

    /// Code spans outside of blocks: what stands between two backticks of a line.
    pub fn code_spans(&self) -> Vec<String> {
        let mut spans = Vec::new();
        let mut in_block = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                in_block = !in_block;
            } else if !in_block {
                spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
        spans
    }

    /// Fails unless each flag that a code span names stands in the text of the page of flags, or is one of `others`. Gives
    /// how many there are. `-tls…` and `-httpAuth.*` stand for all flags that begin so.
    #[track_caller]
    pub fn expect_flags(&self, flags: &str, others: impl Fn(&str) -> bool) -> usize {
        let mut checked = 0;
        for span in self.code_spans() {
            let Some(name) = span.split([' ', '=', ',']).next().filter(|name| name.starts_with('-')) else { continue };
            let name = name.trim_start_matches('-');
            if !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                continue;
            }
            let stem = name.trim_end_matches(['…', '*']);
            let wanted = if stem == name { format!("`-{name}`") } else { format!("`-{stem}") };
            assert!(others(name) || flags.contains(&wanted), "{}: there is no flag {span:?}", self.name);
            checked += 1;
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_spans() {
        let text = "Text `-a` and `b c`.\n\n```yaml invalid\nusers: `x`\n```\nEnd `d`\n".to_owned();
        let page = Page { name: "p.md".to_owned(), text };
        let blocks: Vec<_> = page.blocks().into_iter().map(|block| (block.info, block.line, block.text)).collect();
        assert_eq!(blocks, [("yaml invalid".to_owned(), 4, "users: `x`\n".to_owned())]);
        assert_eq!(page.code_spans(), ["-a", "b c", "d"]);
    }
}
