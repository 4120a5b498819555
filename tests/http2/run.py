#!/usr/bin/env python3
"""HTTP/2, judged by peers of other implementations, and by clients who mean harm.

    run.py VMAUTH [--h2spec PATH] [--only NAME]

Needs curl, openssl, node, java with its compiler, haproxy, h2load and Python's h2; `.ci/http2` installs them. One line a failed check and one a figure; ends with
`N passed, N failed`, and with status 1 if anything failed.
"""

import argparse
import os

import abuse
import clients
import haproxy
import kit


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vmauth")
    parser.add_argument("--h2spec")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    kit.Proxy.binary = os.path.abspath(options.vmauth)

    def h2spec():
        clients.h2spec(options.h2spec)

    parts = [part for module in (clients, haproxy, abuse) for part in module.PARTS]
    kit.run_parts([h2spec, *parts] if options.h2spec else parts, options.only)
    return kit.summary("http2")


if __name__ == "__main__":
    raise SystemExit(main())
