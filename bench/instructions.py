#!/usr/bin/env python3
"""Counts the instructions of the pure stages of a request and compares them with bench/instructions.toml.

Every stage runs under callgrind with two numbers of repetitions; the difference, divided by the difference of the numbers, is
the cost of one repetition. Unlike a time it does not depend on the load of the machine, so a step of a few per cent is visible.

usage: instructions.py [--bin target/release/stages] [--update] [STAGE ...]

Needs valgrind. Exits with 1 if a stage costs over 10 % more than its limit; the limits follow the compiler version of
rust-toolchain.toml. --update writes the measured figures as the new limits; say why in the commit.
"""
import argparse, os, re, subprocess, sys, tempfile, tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMITS = HERE / "instructions.toml"
TOLERANCE = 0.10
FEW, MANY = 200, 1200


def instructions(binary, stage, count):
    with tempfile.NamedTemporaryFile() as out:
        cmd = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", binary, stage, str(count)]
        run = subprocess.run(cmd, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise SystemExit(f"{' '.join(cmd)}: exit code {run.returncode}\n{run.stderr[-2000:]}")
    return int(found[1])


def cost(binary, stage):
    return round((instructions(binary, stage, MANY) - instructions(binary, stage, FEW)) / (MANY - FEW))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(HERE.parent / "target/release/stages"))
    parser.add_argument("--update", action="store_true")
    parser.add_argument("stage", nargs="*")
    args = parser.parse_args()
    known = subprocess.run([args.bin], check=True, capture_output=True, text=True).stdout.split()
    limits = tomllib.loads(LIMITS.read_text())["instructions"] if LIMITS.exists() else {}
    stages = args.stage or known
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        costs = dict(zip(stages, pool.map(lambda stage: cost(args.bin, stage), stages)))
    if args.update:
        lines = [f"{stage} = {value}\n" for stage, value in {**limits, **costs}.items() if stage in known]
        head = LIMITS.read_text().partition("[instructions]")[0] if LIMITS.exists() else ""
        LIMITS.write_text(head + "[instructions]\n" + "".join(lines))
        limits = {**limits, **costs}
    passed = failed = 0
    for stage, value in costs.items():
        limit = limits.get(stage)
        change = f"{100 * (value / limit - 1):+5.1f} %" if limit else "no limit"
        is_good = limit is not None and value <= limit * (1 + TOLERANCE)
        passed, failed = passed + is_good, failed + (not is_good)
        print(f"{'ok  ' if is_good else 'FAIL'} {stage:20} {value:8} instructions, limit {limit or '-':>8} {change}")
        if limit and value < limit * (1 - TOLERANCE):
            print(f"     {stage}: over 10 % cheaper than its limit; lower it with --update")
    for stage in sorted(set(limits) - set(known)):
        failed += 1
        print(f"FAIL {stage} has a limit but is no stage of {args.bin}")
    print(f"instructions: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
