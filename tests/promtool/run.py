#!/usr/bin/env python3
"""Compares our parser of metric pages with Debian's `promtool check metrics`: run.py READ_PAGES [--pages N] [--seed N]

READ_PAGES is `target/*/read_pages` (`cargo build -p stages`). Makes N pages of the text format with everything that it
allows; both have to take each of them, and ours has to find all samples. Every twentieth is spoiled in one or two places as well: what promtool still
takes, ours has to take, and what only ours takes has to be one of the liberties of docs/reference/vmagent-scraping.md. Ends with `N passed, N failed`.
"""

import argparse
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

BATCH = 400
# What Prometheus refuses and we take, by promtool's words: any bytes are a name or a label value, nothing is compared with other lines,
# any escape stands for itself, blanks may end a line, numbers beyond the range are infinite, NaN may have a sign, pages may end without a line feed, comments may follow a value, a comment that makes no sense is one.
LIBERTIES = (
    r"invalid metric name", r"invalid label name", r"invalid character", r"second (HELP|TYPE) line", r"second TYPE", r"TYPE reported after samples",
    r"invalid escape sequence", r"unexpected end of input stream", r"unknown metric type", r"duplicate label", r"already exists|collected before|inconsistent",
    r"is not a valid utf-?8|invalid UTF-?8", r"expected integer as timestamp", r"spurious string after timestamp", r"invalid metric name in comment",
    r"unexpected newline", r"expected (float|integer) as value .* in (histogram|summary)", r"expected float as value for '(le|quantile)'",
    r'expected float as value, got "[-+](nan|inf)', r'expected float as value, got "[^"]*#', r'expected float as value, got "[-+.\d]+[eE]\+?\d{3,}"', r"expected '=' after label name", r"label name .* is reserved|__name__",
)  # fmt: skip
# A name that ends, for Prometheus, before the blank or brace where it ends for us: it is refused there, or what follows is the value.
ODD_NAME = re.compile(r"[ \t]*[A-Za-z_:][A-Za-z0-9_:]*[^A-Za-z0-9_:\s{]")
ODD = '{}",=\\ \t#a1.+-eE_:\u00e4'


def value(rnd):
    number = rnd.choice((rnd.randrange(1000), -rnd.randrange(10**12), rnd.random(), rnd.uniform(-1e9, 1e9), rnd.random() * 10 ** rnd.randrange(-300, 300)))
    return rnd.choice((str(number), repr(float(number)), f"{number:e}", f"{number:G}", "NaN", "+Inf", "-Inf", "0", "-0", "1.", ".5", "1e3", "Inf", "nan", "inf"))


def text(rnd, length=12):
    return "".join(rnd.choice('ab Z09/_-{}=,#.:\t\u00e9\u4e16"\\\n') for _ in range(rnd.randrange(length)))


def quoted(rnd):
    return text(rnd).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def blanks(rnd, least=0):
    return "".join(rnd.choice(" \t") for _ in range(least + (rnd.random() < 0.2) * rnd.randrange(3)))


def series(rnd, name, number):
    """A sample; the label `i` keeps it apart from others."""
    labels = [f'{label}{blanks(rnd)}={blanks(rnd)}"{quoted(rnd)}"' for label in rnd.sample(("a", "b_1", "_c", "Job", "code"), rnd.randrange(4))]
    labels.insert(rnd.randrange(len(labels) + 1), f'i="{number}"')
    inside = f"{blanks(rnd)},{blanks(rnd)}".join(labels) + rnd.choice(("", "", ","))
    time_text = rnd.choice(("", "", "", blanks(rnd, 1) + str(rnd.choice((0, -5, 1700000000000, 9**15)))))
    return f"{name}{blanks(rnd)}{{{blanks(rnd)}{inside}{blanks(rnd)}}}{blanks(rnd, 1)}{value(rnd)}{time_text}"


def page(rnd, index):
    """A page whose names belong to it alone, and the number of its samples."""
    lines, samples = [], 0
    for family in range(rnd.randrange(1, 5)):
        name = f"{rnd.choice(('m', 'ns:m', '_m'))}{index}_{family}"
        if rnd.random() < 0.7:
            help_text = text(rnd, 20).replace("\\", "\\\\").replace("\n", "\\n")
            lines.append(f"#{blanks(rnd, 1)}HELP{blanks(rnd, 1)}{name} {help_text}")
        if rnd.random() < 0.7:
            lines.append(f"#{blanks(rnd, 1)}TYPE{blanks(rnd, 1)}{name}{blanks(rnd, 1)}{rnd.choice(('gauge', 'counter', 'untyped'))}")
        if rnd.random() < 0.2:
            lines.append(rnd.choice(("", "# a remark", "#", "   ", "#HELP")))
        if rnd.random() < 0.2:
            lines.append(f"{name}{blanks(rnd, 1)}{value(rnd)}")
            samples += 1
        for number in range(rnd.randrange(6)):
            lines.append(blanks(rnd) + series(rnd, name, number))
            samples += 1
    return "\n".join(lines) + "\n", samples


def spoil(rnd, original):
    letters = list(original)
    for _ in range(rnd.randrange(1, 3)):
        at = rnd.randrange(len(letters))
        change = rnd.randrange(3)
        if change == 0:
            del letters[at]
        elif change == 1:
            letters.insert(at, rnd.choice(ODD))
        else:
            letters[at] = rnd.choice(ODD)
        if not letters:
            return "\n"
    return "".join(letters)


def promtool(text_of_page):
    """None when it reads the page, or why it does not."""
    run = subprocess.run(["promtool", "check", "metrics"], input=text_of_page.encode(), capture_output=True)
    said = (run.stdout + run.stderr).decode("utf-8", "replace")
    if found := re.search(r"error while linting: (.*)", said):
        return found[1]
    return None if run.returncode in (0, 3) else f"status {run.returncode}: {said}"


def ours(binary, pages):
    """(samples, invalid lines) of each page."""
    run = subprocess.run([binary], input="\f".join(pages).encode(), capture_output=True, check=True)
    return [tuple(map(int, line.split())) for line in run.stdout.decode().splitlines()]


def refused(pages):
    """The pages that promtool refuses, with the reason: all at once, then halves."""
    why = promtool("".join(pages.values()))
    if why is None:
        return {}
    if len(pages) == 1:
        return {index: why for index in pages}
    items = list(pages.items())
    half = len(items) // 2
    return refused(dict(items[:half])) | refused(dict(items[half:]))


def check_good(binary, first, count, seed):
    made = {index: page(random.Random(f"{seed} {index}"), index) for index in range(first, first + count)}
    found = ours(binary, [text_of_page for text_of_page, _ in made.values()])
    problems = [
        f"page {index}: ours finds {samples} samples of {wanted}, {invalid} lines make no sense:\n{text_of_page}"
        for (index, (text_of_page, wanted)), (samples, invalid) in zip(made.items(), found) if (samples, invalid) != (wanted, 0)
    ]  # fmt: skip
    reasons = refused({index: text_of_page for index, (text_of_page, _) in made.items()})
    return problems + [f"page {index}: promtool refuses what ours takes: {why}\n{made[index][0]}" for index, why in reasons.items()]


def check_spoiled(binary, indexes, seed):
    """Problems, and how many both take, both refuse, only ours takes."""
    pages = [spoil(random.Random(f"spoil {seed} {index}"), page(random.Random(f"{seed} {index}"), index)[0]) for index in indexes]
    problems, counts = [], [0, 0, 0]
    for text_of_page, (_, invalid) in zip(pages, ours(binary, pages)):
        why = promtool(text_of_page)
        lines = text_of_page.split("\n")
        if why is None and invalid > sum(bool(ODD_NAME.match(line)) for line in lines):
            problems.append(f"ours refuses {invalid} lines of what promtool takes:\n{text_of_page}")
        elif why is None:
            counts[0] += 1
        elif (at := re.search(r"in line (\d+)", why)) and int(at[1]) <= len(lines) and ODD_NAME.match(lines[int(at[1]) - 1]):
            counts[2 if not invalid else 1] += 1
        elif invalid:
            counts[1] += 1
        elif any(re.search(liberty, why, re.I) for liberty in LIBERTIES):
            counts[2] += 1
        else:
            problems.append(f"ours takes what promtool refuses, and this is no known liberty: {why}\n{text_of_page}")
    return problems, counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"--seed {args.seed}")
    with ThreadPoolExecutor(2) as pool:
        good = list(pool.map(lambda first: check_good(args.binary, first, min(BATCH, args.pages - first), args.seed), range(0, args.pages, BATCH)))
        spoiled = list(pool.map(lambda first: check_spoiled(args.binary, range(first, min(first + BATCH * 5, args.pages), 20), args.seed), range(0, args.pages, BATCH * 5)))
    problems = [problem for found in good for problem in found] + [problem for found, _ in spoiled for problem in found]
    both, neither, only_ours = (sum(counts[at] for _, counts in spoiled) for at in range(3))
    for problem in problems[:20]:
        print(f"FAIL {problem}")
    print(f"{args.pages} pages; of {both + neither + only_ours} spoiled ones both take {both}, both refuse {neither}, ours alone takes {only_ours}")
    print(f"promtool: {args.pages + both + neither + only_ours - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
