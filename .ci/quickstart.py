#!/usr/bin/env python3
"""Runs the first command of the README as it stands there, then every curl of its quick start with the result it promises.

In the README a promised result follows the command as `# 200 text`: the status, and words of the body or of a header.
"""
import re, shlex, subprocess, sys, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 600


def commands():
    section = (ROOT / "README.md").read_text().partition("## Quick start")[2].partition("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.S) for line in block.splitlines()]
    run = [line.partition(" #")[0].strip() for line in lines if line.startswith("cargo run")]
    requests = [re.fullmatch(r"(curl .*?) +# (\d{3})(?: (.+))?", line) for line in lines if line.startswith("curl")]
    if len(run) != 1 or not requests or not all(requests):
        raise SystemExit(f"README.md: expected one `cargo run` and some `curl … # status words`, found {run} and {requests}")
    return run[0], [request.groups() for request in requests]


def wait_until_ready(process):
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen("http://127.0.0.1:8426/health", timeout=1) as reply:
                return reply.status
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"the command of the README does not serve; exit code {process.poll()}")


def main():
    run, requests = commands()
    passed = 0
    process = subprocess.Popen(shlex.split(run), cwd=ROOT)
    try:
        wait_until_ready(process)
        for curl, status, words in requests:
            output = subprocess.run([*shlex.split(curl), "-sSi"], capture_output=True, text=True, timeout=30).stdout
            got = output.split(" ", 2)[1:2]
            is_good = got == [status] and (words or "") in output
            passed += is_good
            print(f"{'ok  ' if is_good else 'FAIL'} {curl}" + ("" if is_good else f": want {status} {words}, got\n{output[:600]}"))
    finally:
        process.terminate()
        code = process.wait(30)
    print(f"quickstart: {passed} passed, {len(requests) - passed} failed")
    return 1 if passed < len(requests) or code not in (0, -15) else 0


if __name__ == "__main__":
    sys.exit(main())
