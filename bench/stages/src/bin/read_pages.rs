//! Reads metric pages from standard input, divided by form feeds, and prints a line for each: how many samples it has and
//! how many lines make no sense. `tests/promtool/run.py` compares that with what `promtool check metrics` says.

use std::io::{Read as _, Write as _};

use vmagent::exposition::{Line, LineParser, LineSplitter};

fn main() -> std::io::Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut parser = LineParser::default();
    for page in input.split(|&byte| byte == 0x0C) {
        let (mut samples, mut invalid) = (0, 0);
        let mut splitter = LineSplitter::default();
        let mut count = |line: &[u8]| match parser.parse(line) {
            Line::Sample(_) => samples += 1,
            Line::Invalid => invalid += 1,
            Line::Nothing | Line::Help { .. } | Line::Type { .. } => {}
        };
        splitter.feed(page, &mut count);
        splitter.finish(&mut count);
        writeln!(out, "{samples} {invalid}")?;
    }
    out.flush()
}
