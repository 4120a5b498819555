#!/usr/bin/env python3
"""Runs the conformance kit and compares its failures with .ci/conformance-skip.txt: conformance.py KIT BINARY.

The kit can leave out cases by tag only. Here each check that may fail is named, with its reason; a check that fails without being
named is an error, and so is a name whose check passes or no longer exists.
"""
import re, subprocess, sys
from pathlib import Path

SKIPS = Path(__file__).with_name("conformance-skip.txt")


def skipped():
    """The lines of the list as `case > step`, each with its reason."""
    skips = {}
    for line in SKIPS.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, mark, reason = line.partition(" # ")
            if not mark or not reason.strip():
                raise SystemExit(f"{SKIPS.name}: no reason for {name!r}")
            skips[name.strip()] = reason.strip()
    return skips


def main():
    kit, binary = sys.argv[1:]
    skips, failed, total = skipped(), [], None
    command = [sys.executable, f"{kit}/conformance.py", "--bin", binary]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if found := re.fullmatch(r"(\d+) passed, (\d+) failed\n", line):
                total = int(found[1]), int(found[2])
                continue
            print(line, end="", flush=True)
            if line.startswith("FAIL "):
                failed.append(line[5:].strip())
    if total is None or total[1] != len(failed) or (run.returncode != 0) != bool(failed):
        raise SystemExit(f"the kit ended with exit code {run.returncode} and says {total}, {len(failed)} failures were seen")
    unexpected = [name for name in failed if name not in skips]
    stale = [name for name in skips if name not in failed]
    for name in failed:
        if name in skips:
            print(f"skipped: {name}: {skips[name]}")
    for name in stale:
        print(f"FAIL {SKIPS.name}: {name} passes or does not exist: remove it")
    bad = len(unexpected) + len(stale)
    print(f"conformance: {total[0]} passed, {bad} failed, {len(failed) - len(unexpected)} skipped")
    return 1 if bad or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
