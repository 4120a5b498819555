#!/usr/bin/env python3
"""HTTP/2 towards clients, judged by clients of other implementations, and by those who mean harm.

    run.py VMAUTH [--h2spec PATH] [--only NAME]

Needs curl, openssl, node and Python's h2; `.ci/http2` installs them. One line a failed check and one a figure; ends with
`N passed, N failed`, and with status 1 if anything failed.
"""

import argparse
import os
import time
import traceback

import abuse
import clients
import kit


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vmauth")
    parser.add_argument("--h2spec")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    kit.Proxy.binary = os.path.abspath(options.vmauth)
    parts = [(f"{module.__name__}.{part.__name__}", part) for module in (clients, abuse) for part in module.PARTS]
    if options.h2spec:
        parts.insert(0, ("clients.h2spec", lambda: clients.h2spec(options.h2spec)))
    for name, part in parts:
        if options.only not in name:
            continue
        begun = time.monotonic()
        try:
            part()
        except Exception:
            kit.check(name, False, traceback.format_exc())
        kit.note(f"{name}: {time.monotonic() - begun:.1f} s")
    return kit.summary("http2")


if __name__ == "__main__":
    raise SystemExit(main())
