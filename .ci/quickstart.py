#!/usr/bin/env python3
"""Runs each `cargo run` of the README as it stands there, then every curl that follows with the result it promises.

In the README a promised result follows the command as `# 200 text`: the status, and words of the body or of a header. A line `NAME=…` is
done by the shell before the commands that follow. How long it takes until a program is ready, its build included, is said.
"""
import re, shlex, shutil, subprocess, sys, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 3600  # a newcomer waits as long as the build takes
# What answers when a program is ready, and with which words.
READY = {
    "devstack": ("http://127.0.0.1:8480/select/0:0/prometheus/api/v1/query?query=vm_app_version", "vmauth-v"),
    "vmauth": ("http://127.0.0.1:8426/health", "OK"),
    "vmagent": ("http://127.0.0.1:8429/health", "OK"),
}


def programs():
    """Pairs of a command that runs a program, and of the lines to try while it does."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S) for line in block.splitlines()]
    found = []
    for line in lines:
        if line.startswith("cargo run"):
            found.append((line.partition(" #")[0].strip(), []))
        elif request := re.fullmatch(r"(curl .*?) +# (\d{3})(?: (.+))?", line):
            found[-1][1].append(request.groups())
        elif re.match(r"[A-Z]+=", line):
            found[-1][1].append((line, None, None))
        elif line.startswith("curl"):
            raise SystemExit(f"README.md: a curl without its result: {line}")
    if len(found) != len(READY) or not all(requests for _, requests in found):
        raise SystemExit(f"README.md: expected a `cargo run` of each of {sorted(READY)} with some `curl … # status words`, found {found}")
    return found


def wait_until_ready(process, url, words):
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                if words in reply.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the command of the README does not serve {url}; exit code {process.poll()}")


def try_program(run, requests):
    passed, before = 0, []
    started = time.monotonic()
    process = subprocess.Popen(shlex.split(run), cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        wait_until_ready(process, *READY[re.search(r"-p (\w+)", run).group(1)])
        print(f"ready after {time.monotonic() - started:.1f} s, build included: {run}")
        for line, status, words in requests:
            if status is None:
                before.append(line)
                passed += 1
                continue
            script = "\n".join([*before, f"{line} -sSi"])
            output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30).stdout
            got = output.split(" ", 2)[1:2]
            is_good = got == [status] and (words or "") in output
            passed += is_good
            print(f"{'ok  ' if is_good else 'FAIL'} {line}" + ("" if is_good else f": want {status} {words}, got\n{output[:600]}"))
    finally:
        process.terminate()
        code = process.wait(30)
    if code not in (0, -15):
        print(f"FAIL {run}: exit code {code}")
        return passed, len(requests) + 1
    return passed, len(requests)


def main():
    queue = ROOT / "vmagent-remotewrite-data"
    is_ours = not queue.exists()
    try:
        results = [try_program(run, requests) for run, requests in programs()]
    finally:
        if is_ours:
            shutil.rmtree(queue, ignore_errors=True)
    passed, asked = (sum(column) for column in zip(*results))
    print(f"quickstart: {passed} passed, {asked - passed} failed")
    return 1 if passed < asked else 0


if __name__ == "__main__":
    sys.exit(main())
