#!/usr/bin/env python3
"""vmauth among real neighbours: an OpenID provider, Prometheus, a store, dashboards, the profiler's format.

    run.py VMAUTH [--only NAME]

One line a check; ends with `N passed, N failed`, and with status 1 if anything failed.
"""

import argparse
import importlib

import kit

MODULES = ("oidc", "prometheus", "forms", "dashboards", "profile_format")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vmauth")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    kit.Vmauth.binary = options.vmauth
    kit.leave_cleanly_on_signals()
    try:
        run(options)
        return kit.summary()
    finally:
        kit.clean_up()


def run(options):
    modules = [importlib.import_module(name) for name in MODULES]
    revocation = modules[0].Revocation() if not options.only else None
    kit.run_parts((part for module in modules for part in module.PARTS), options.only)
    if revocation:
        revocation.finish()


if __name__ == "__main__":
    raise SystemExit(main())
