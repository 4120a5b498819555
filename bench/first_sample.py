#!/usr/bin/env python3
"""How long a newcomer waits: first_sample.py [PROFILE…]. Builds devstack in an empty folder, then runs it until the first sample is in the store.

Says for each profile (`dev` when none is given) the time on the clock, the time of processors, and the size of the binary. What cargo
downloads is fetched before. On a busy machine only the time of processors means something.
"""
import os, re, resource, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = os.environ | {"CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never"}


def measure(profile, target):
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--offline", "--profile", profile, "-p", "devstack", "--target-dir", target], cwd=ROOT, env=ENV, check=True)
    built, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    binary = Path(target) / ("debug" if profile == "dev" else profile) / "devstack"
    flags = ["-httpListenAddr=127.0.0.1:0", *(f"-{part}Addr=127.0.0.1:0" for part in ("provider", "vmauth", "vmagent", "store"))]
    started = time.monotonic()
    process = subprocess.Popen([binary, *flags], stdout=subprocess.PIPE, text=True)
    line = next((line for line in process.stdout if re.search("the first sample was in the store", line)), "")
    sample = time.monotonic() - started
    process.terminate()
    process.wait(10)
    if not line:
        raise SystemExit("devstack ended before its first sample")
    print(f"{profile}: built in {built:.0f} s with {cpu:.0f} s of processors, {binary.stat().st_size >> 20} MiB; first sample {sample:.1f} s after the start")


def main():
    subprocess.run(["cargo", "fetch", "--quiet", "--locked"], cwd=ROOT, env=ENV, check=True)
    for profile in sys.argv[1:] or ["dev"]:
        with tempfile.TemporaryDirectory(prefix="first-sample-") as target:
            measure(profile, target)


if __name__ == "__main__":
    main()
