#!/usr/bin/env python3
"""gRPC and HTTP/2 to backends through vmauth, with clients and servers of others: the official interoperability tests of
gRPC, grpcio, grpcurl, OTLP, Node.

    run.py VMAUTH TOOLS [--only NAME]

TOOLS is the folder with the programs of tools/go.mod. Needs the packages of requirements.txt; `.ci/grpc` sees to both.
One line a check; ends with `N passed, N failed`, and with status 1 if anything failed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "real"))

import backends
import calls
import interop
import kit
import otlp

MODULES = (interop, calls, otlp, backends)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vmauth")
    parser.add_argument("tools", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    kit.Vmauth.binary = options.vmauth
    interop.TOOLS = calls.TOOLS = options.tools
    kit.leave_cleanly_on_signals()
    try:
        kit.run_parts((part for module in MODULES for part in module.PARTS), options.only)
        return kit.summary()
    finally:
        kit.clean_up()


if __name__ == "__main__":
    raise SystemExit(main())
