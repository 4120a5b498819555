#!/usr/bin/env python3
"""Latency of proxies side by side at 70 % of the rate that saturates each of them, and at rates given.

    latency.py --bin NAME=PATH [--nginx] [--haproxy] [--rate N …] [--seconds 5] [--rounds 3] [--conns 64]

A small GET over keep-alive connections; pinned as in bench.py, which it stands on. The load is open loop (open_loop.c, compiled here): latency counts
from the moment a request was due. Medians of the rounds.
"""
import argparse
import statistics
import subprocess
from pathlib import Path

from bench import BASIC, LOAD_CORE, QUERY, Bench, proxies_for, stop

SHARE = 0.7
FIELDS = ("answered", "failed", "p50", "p99", "p99.9", "longest")


def open_loop(program, port, rate, args):
    request = f"GET {QUERY} HTTP/1.1\r\nHost: bench\r\n{BASIC}\r\n\r\n"
    command = ["taskset", "-c", str(LOAD_CORE), program, port, args.conns, f"{rate:.0f}", args.seconds, 1]
    run = subprocess.run([str(word) for word in command], input=request, capture_output=True, text=True, check=True)
    return dict(zip(FIELDS, map(int, run.stdout.split())))


def measure(name, start, program, scenario, args):
    """One line for each rate."""
    results = {}
    for _ in range(args.rounds):
        process, port = start()
        saturating = scenario.load(port, args.conns, args.seconds)["rate"]
        for label, rate in ((f"{SHARE:.0%}", SHARE * saturating), *((f"{rate:.0f}/s", rate) for rate in args.rate)):
            results.setdefault(label, []).append({"rate": rate, **open_loop(program, port, rate, args)})
        stop(process)
    for label, rounds in results.items():
        rate, p50, p99, p999 = (statistics.median(each[field] for each in rounds) for field in ("rate", "p50", "p99", "p99.9"))
        failed = sum(each["failed"] for each in rounds)
        print(f"  {name:12s} at {label:>8s} = {rate:7.0f}/s  p50 {p50 / 1e3:7.2f}  p99 {p99 / 1e3:7.2f}  p99.9 {p999 / 1e3:7.2f} ms  failed={failed}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", action="append", default=[], type=lambda text: text.split("=", 1))
    parser.add_argument("--nginx", action="store_true")
    parser.add_argument("--haproxy", action="store_true")
    parser.add_argument("--rate", action="append", default=[], type=float)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conns", type=int, default=64)
    args = parser.parse_args()
    bench = Bench()
    try:
        program = bench.folder / "open_loop"
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, Path(__file__).with_name("open_loop.c")], check=True)
        backend = bench.backend()
        scenario = bench.scenarios(backend)["get-small"]
        print("== latency")
        for name, start in proxies_for(bench, scenario, backend, args).items():
            measure(name, start, program, scenario, args)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
