#!/usr/bin/env python3
"""Attacks and faults that need the machine itself: files of /etc, name servers on port 53, addresses, interfaces that go down.

    run.py VMAUTH [TEXT]

Runs each module in namespaces of its own, as root or where users may make namespaces; elsewhere it says so and passes. TEXT chooses
modules by name. Needs Linux with `unshare`, `mount`, `ip`. Ends with `N passed, N failed`.
"""
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

MODULES = ("names", "addresses", "vanished")
NAMESPACES = ("-m", "-n", "-u")


def unshare():
    """The command that makes namespaces here, or None."""
    for options in (NAMESPACES, ("-r", *NAMESPACES)):
        if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
            return ["unshare", *options]
    return None


def inside(module, binary):
    import kit
    kit.Vmauth.binary = binary
    kit.environment()
    importlib.import_module(module).run()
    kit.summary()


def main():
    binary, text = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    make = unshare()
    if make is None:
        print("attacks: 0 passed, 0 failed: namespaces cannot be made here")
        return 0
    runs = []
    for module in MODULES:
        if text in module:
            command = [*make, sys.executable, __file__, "--inside", module, binary]
            runs.append((module, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)))
    passed = failed = 0
    for module, process in runs:
        output = process.communicate()[0]
        print(output.rpartition("\n")[0] if "passed" not in output else re.sub(r"\d+ passed, \d+ failed\n", "", output), end="")
        totals = re.search(r"(\d+) passed, (\d+) failed\n$", output)
        if not totals:
            print(f"FAIL  {module} did not end: exit code {process.returncode}")
        passed, failed = passed + int(totals[1] if totals else 0), failed + int(totals[2] if totals else 1)
    print(f"attacks: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(*sys.argv[2:])
    else:
        sys.exit(main())
