"""The command of a conformance kit: which cases are run, and what is printed about them.

Many cases hold times against each other: limits of the binary, scrapes of a second, pauses between attempts. A machine that keeps everybody waiting
breaks them whatever the binary does. A case that fails is therefore run again, alone and at most twice, when the machine has stalled during it or
when nothing but times was wrong; this is printed, and what fails again is a failure. Anything else is one at once.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import sys
import time
import traceback
from pathlib import Path

from ..stalls import Stalls
from .case_files import Case, CaseError
from .case_run import Result

ATTEMPTS = 3
STALL = 0.15  # seconds; the closest limits of the cases are not much further apart
# Problems that say how long something took.
OF_TIME = re.compile(
    r"takes|reply\.(takes|first_byte)|got\.(gaps|steady|phases?)|timestamp_gaps|wait: the age"
)


def parser(doc: str, program: str) -> argparse.ArgumentParser:
    """Return the options which both kits have."""
    options = argparse.ArgumentParser(description=doc)
    options.add_argument("--bin", required=True, help="the binary to check")
    options.add_argument(
        "--original", action="store_true", help=f"expect what the original {program} does"
    )
    options.add_argument("--cases", action="append", help="a directory or a file with cases")
    options.add_argument("--filter", default="", help="run only cases whose name has this text")
    options.add_argument("--skip-tag", action="append", default=[], help="skip cases with this tag")
    options.add_argument("--only-tag", action="append", default=[], help="run only these cases")
    options.add_argument("--jobs", type=int, default=4, help="how many cases to run at once")
    options.add_argument("--list", action="store_true", help="count the checks of every topic")
    options.add_argument("-v", "--verbose", action="store_true", help="print passed checks too")
    return options


def select(args: argparse.Namespace, usual: Path, load, for_mode) -> list[Case]:
    """Return the cases to run."""
    cases = [case for place in args.cases or [usual] for case in load(Path(place))]
    cases = for_mode(cases, "original" if args.original else "project")
    cases = [c for c in cases if args.filter.lower() in c.name.lower()]
    cases = [c for c in cases if not set(args.skip_tag) & set(c.tags)]
    if args.only_tag:
        cases = [c for c in cases if set(args.only_tag) & set(c.tags)]
    return cases


def attempt(case: Case, binary: str, run_case) -> tuple[list[Result], float, float]:
    """Run a case; a failure of the kit itself is reported as a failure of the case.

    Returns also how long it took, and the longest stall of the machine meanwhile, in seconds.
    """
    started = time.monotonic()
    with Stalls() as stalls:
        try:
            results = run_case(case, binary)
        except Exception:  # pylint: disable=broad-except
            results = [Result(case.name, "(the kit has failed)", [traceback.format_exc()])]
        stalled = stalls.longest()
    for result in results:
        result.seen = {}
    return results, time.monotonic() - started, stalled


def proves_nothing(results: list[Result], stalled: float) -> str:
    """Why a failed run says nothing about the binary, or an empty text."""
    # What a step waits for in vain changes the counts of those behind it.
    problems = next((result.problems for result in results if result.problems), [])
    if not problems:
        return ""
    if stalled > STALL:
        return f"the machine has stalled for {stalled:.2f} s"
    if all(OF_TIME.match(problem) for problem in problems):
        return "nothing but times is wrong"
    return ""


def count(cases: list[Case], expectations: set[str]) -> None:
    """Print the number of cases and checks of every topic."""
    topics: dict[str, list[int]] = {}
    for case in cases:
        numbers = topics.setdefault(case.topic, [0, 0])
        numbers[0] += 1
        numbers[1] += sum(1 for step in case.steps if expectations & step.keys())
    for topic, (n_cases, n_checks) in sorted(topics.items()):
        print(f"{topic}: {n_cases} cases, {n_checks} checks")
    print(f"total: {len(cases)} cases, {sum(n for _, n in topics.values())} checks")


def report(result: Result, verbose: bool) -> None:
    """Print the outcome of a check."""
    if result.problems:
        print(f"FAIL {result.case} > {result.step}")
        for problem in result.problems:
            print(f"    {problem}")
    elif verbose:
        print(f"ok   {result.case} > {result.step}")


def run(args: argparse.Namespace, cases: list[Case], run_case, counts=lambda result: True) -> int:
    """Run the cases by run_case(case, binary); return the exit code. Results which don't count aren't shown."""
    binary = str(Path(args.bin).resolve())
    if not os.access(binary, os.X_OK):
        print(f"{binary} isn't an executable file", file=sys.stderr)
        return 2
    passed = failed = 0
    left = sorted(cases, key=lambda c: -c.cost)
    for number in range(1, ATTEMPTS + 1):
        doubtful = []
        for case, (results, seconds, stalled) in outcomes(left, binary, run_case, args.jobs if number == 1 else 1):
            results = [result for result in results if counts(result)]
            why = proves_nothing(results, stalled)
            if why and number < ATTEMPTS:
                print_again(results, why)
                doubtful.append(case)
                continue
            for result in results:
                report(result, args.verbose)
                failed += bool(result.problems)
                passed += not result.problems
            if args.verbose and results:
                print(f"     {results[0].case}: {seconds:.1f}s")
            sys.stdout.flush()
        left = doubtful
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def outcomes(cases: list[Case], binary: str, run_case, jobs: int):
    """Run the cases, so many at once; yield each with what attempt() returns."""
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(attempt, case, binary, run_case): case for case in cases}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()


def print_again(results: list[Result], why: str) -> None:
    """Print what was wrong with a run that is going to be repeated."""
    for result in results:
        for problem in result.problems:
            print(f"again {result.case} > {result.step}, because {why}: {problem}", flush=True)


def main(args: argparse.Namespace, cases_of, expectations: set[str], run_case, counts=lambda result: True) -> int:
    """Do what the command line says, with the cases that cases_of(args) selects."""
    try:
        cases = cases_of(args)
    except CaseError as err:
        print(err, file=sys.stderr)
        return 2
    if args.list:
        count(cases, expectations)
        return 0
    return run(args, cases, run_case, counts)
