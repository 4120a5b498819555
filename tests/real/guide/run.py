#!/usr/bin/env python3
"""The guide, vmagent -> vmauth (OIDC) -> tenant of a store, among real parts.

    run.py --vmauth PATH --vmagent PATH [--keycloak FOLDER] [--npm]

The providers that are named run side by side. One line a check, then a table of scenarios and `N passed, N failed`; status 1 if anything failed.
"""

import argparse
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import kit  # noqa: E402
from guide import providers, scenarios, stack  # noqa: E402


class Report:
    """What was checked, by scenario and provider."""

    def __init__(self):
        self.rows, self.facts = {}, []

    def table(self, names):
        width = max(len(scenario.__doc__) for scenario in scenarios.SCENARIOS)
        lines = ["  ".join(["scenario".ljust(width), *(name.ljust(22) for name in names)])]
        for scenario in scenarios.SCENARIOS:
            cells = [self.rows.get((name, scenario.__name__), "not reached").ljust(22) for name in names]
            lines.append("  ".join([scenario.__doc__.ljust(width), *cells]).rstrip())
        return "\n".join(lines)


def run(provider, report):
    """All scenarios with one provider; the first that cannot go on is the last."""
    parts = stack.Stack(provider, report)
    counts = {}

    def check(what, passed, detail=""):
        counts[bool(passed)] = counts.get(bool(passed), 0) + 1
        return kit.check(f"{provider.name}: {scenario.__name__}: {what}", passed, detail)

    parts.check = check
    for scenario in scenarios.SCENARIOS:
        if getattr(scenario, "only", provider.name) != provider.name:
            report.rows[provider.name, scenario.__name__] = "with the other one"
            continue
        counts.clear()
        begun, ended = time.monotonic(), False
        try:
            scenario(parts)
            ended = True
        except Exception:
            check("did not end", False, traceback.format_exc() + "".join(each.log()[-2000:] for each in parts.logs))
        took = time.monotonic() - begun
        good, bad = counts.get(True, 0), counts.get(False, 0)
        report.rows[provider.name, scenario.__name__] = f"{f'{bad} FAILED, ' if bad else ''}{good} ok, {took:.1f} s"
        if not ended:
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmauth", required=True)
    parser.add_argument("--vmagent", required=True)
    parser.add_argument("--keycloak", help="an unpacked distribution")
    parser.add_argument("--npm", action="store_true")
    options = parser.parse_args()
    stack.Proxy.binary, stack.Agent.binary = options.vmauth, options.vmagent
    kit.leave_cleanly_on_signals()
    report = Report()
    try:
        chosen = [providers.Keycloak(options.keycloak)] if options.keycloak else []
        chosen += [providers.Npm()] if options.npm else []
        threads = [threading.Thread(target=run, args=(provider, report), daemon=True) for provider in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("\n" + report.table([provider.name for provider in chosen]) + "\n")
        for fact in report.facts:
            kit.note(fact)
        return kit.summary()
    finally:
        kit.clean_up()


if __name__ == "__main__":
    raise SystemExit(main())
