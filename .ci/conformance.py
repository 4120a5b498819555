#!/usr/bin/env python3
"""Runs a conformance kit and compares its failures with the checks that may fail: conformance.py vmauth|vmagent BINARY [TEXT].

The kits can leave out cases by tag only. Here each check that may fail is named in `.ci/PRODUCT-may-fail.txt`, with its reason; a check
that fails without being named is an error, and so is a name whose check passes or no longer exists. `.ci/vmagent-cases.txt` names
the case files that are switched on for the agent. With TEXT only cases whose name has it are run, and the list is not compared.
"""
import re, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
KITS = {"vmauth": TESTS / "conformance/conformance.py", "vmagent": TESTS / "agent-conformance/agent_conformance.py"}


def lines_of(path):
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def may_fail(path):
    """The lines of the list as `case > step`, each with its reason."""
    named = {}
    for line in lines_of(path):
        name, mark, reason = line.partition(" # ")
        if not mark or not reason.strip():
            raise SystemExit(f"{path.name}: no reason for {name!r}")
        named[name.strip()] = reason.strip()
    return named


def run(command):
    """The failed checks, and the numbers of the kit's last line."""
    failed, total = [], None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kit:
        for line in kit.stdout:
            if found := re.fullmatch(r"(\d+) passed, (\d+) failed\n", line):
                total = int(found[1]), int(found[2])
                continue
            print(line, end="", flush=True)
            if line.startswith("FAIL "):
                failed.append(line[5:].strip())
    if total is None or total[1] != len(failed) or (kit.returncode != 0) != bool(failed):
        raise SystemExit(f"the kit ended with exit code {kit.returncode} and says {total}, {len(failed)} failures were seen")
    return failed, total[0]


def main():
    product, binary, *text = sys.argv[1:]
    command = [sys.executable, str(KITS[product]), "--bin", binary]
    switched_on = HERE / f"{product}-cases.txt"
    cases = lines_of(switched_on) if switched_on.exists() else []
    if switched_on.exists() and not cases:
        print(f"conformance-{product}: 0 passed, 0 failed: {switched_on.name} switches nothing on")
        return 0
    for name in cases:
        command += ["--cases", str(KITS[product].parent / "cases" / name)]
    if text:
        command += ["--filter", *text]
    named = may_fail(HERE / f"{product}-may-fail.txt")
    failed, passed = run(command)
    for name in failed:
        if name in named:
            print(f"may fail: {name}: {named[name]}")
    stale = [] if text else [name for name in named if name not in failed]
    for name in stale:
        print(f"FAIL {product}-may-fail.txt: {name} passes or does not exist: remove it")
    known = sum(name in named for name in failed)
    bad = len(failed) - known + len(stale)
    print(f"conformance-{product}: {passed} passed, {bad} failed, {known} may fail")
    return 1 if bad or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
