#!/usr/bin/env python3
"""Checks what no compiler checks: sizes and names of files, links and their anchors, whether each page is within reach of the book's contents, files and tests named in the docs, paths of
somebody's machine."""
import re, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 600
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:work|root|home|tmp|Users)/[\w.-]")
SOURCE = re.compile(r"`([\w/]+/\w+\.(?:rs|py))`")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
CONTENTS = "docs/README.md"
VAGUE = {"mod", "utils", "util", "common", "helpers", "helper", "misc"}
README_COMMANDS = ("cargo run -p devstack", "cargo run --release -p vmauth -- -auth.config=examples/quickstart.yml", "cargo test --workspace")


def lines_without_tests(path, text):
    if "tests" in path.with_suffix("").parts:
        return 0
    code, _, _ = text.partition("\n#[cfg(test)]\nmod tests {")
    return code.count("\n")


def anchors(text):
    """Anchors of headings as GitHub makes them, of Markdown without its blocks."""
    seen = {}
    for heading in re.findall(r"^#+ +(.*)$", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S), re.M):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug


def broken_links(path, text):
    for link, anchor in LINK.findall(re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)):
        target = ROOT / path.parent / link if link else ROOT / path
        if "://" in link:
            continue
        if not target.exists():
            yield f"link to {link}, which does not exist"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"link to {link}#{anchor}: no such heading"


def pages_out_of_reach(names):
    """Pages under docs/ that no links lead to from the contents."""
    reached, left = set(), [(ROOT / CONTENTS).resolve()]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        left += [(page.parent / link).resolve() for link, _ in LINK.findall(page.read_text()) if link and "://" not in link]
    for name in names:
        if name.startswith("docs/") and name.endswith(".md") and (ROOT / name).resolve() not in reached:
            yield f"FAIL {name}: no links lead here from {CONTENTS}"


def problems_of(path, text, names):
    if path.suffix == ".rs":
        if (lines := lines_without_tests(path, text)) > MAX_LINES:
            yield f"{lines} lines without tests; {MAX_LINES} are the limit"
        if path.stem in VAGUE:
            yield "the name says nothing; use foo.rs with foo/"
        if path.name != "tests.rs" and not text.startswith(("//!", "#![")):
            yield "no module docs"
    if path.suffix == ".md":
        yield from broken_links(path, text)
        for source in SOURCE.findall(text) if path.name != "CHANGELOG.md" else ():
            if not any(name.endswith("/" + source) or name == source for name in names):
                yield f"no file {source}"
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield f"line {number}: path of one machine: {line.strip()[:100]}"


def tests_that_are_not_there(names):
    """Tests that the last column of docs/hardening.md names: Rust tests by their function, others by their text."""
    texts = {name: (ROOT / name).read_text(errors="replace") for name in names if name.endswith((".rs", ".py", ".toml")) and (ROOT / name).exists()}
    rust = "".join(text for name, text in texts.items() if name.endswith(".rs"))
    others = "".join(text for name, text in texts.items() if name.startswith("tests/"))
    for line in (ROOT / "docs/hardening.md").read_text().splitlines():
        watched_by = line.rstrip(" |").rpartition("|")[2] if line.startswith("|") else ""
        for test in re.findall("`([^`]+)`", watched_by):
            if f"fn {test}(" not in rust and (" " not in test or test not in others):
                yield f"FAIL docs/hardening.md: no test {test}"


def main():
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    checked = failed = 0
    for name in names:
        try:
            text = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found = list(problems_of(Path(name), text, names))
        for problem in found:
            print(f"FAIL {name}: {problem}")
        checked, failed = checked + 1, failed + bool(found)
    for problem in [*tests_that_are_not_there(names), *pages_out_of_reach(names)]:
        print(problem)
        failed += 1
    readme = (ROOT / "README.md").read_text()
    for command in README_COMMANDS:
        if command not in readme:
            print(f"FAIL README.md: does not tell {command}")
            failed += 1
    print(f"tidy: {checked - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
