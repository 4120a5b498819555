#!/usr/bin/env python3
"""Builds the fuzz targets and runs each for a while, two at a time: run.py [--seconds N] [--keep] [--check | --build] [TARGET …]

Needs the toolchain of the workspace and nothing else: coverage comes from a compiler flag that RUSTC_BOOTSTRAP unlocks, so there is no
address sanitizer (our crates have no unsafe code). cargo-fuzz with a nightly compiler runs the same targets with one.

--check only formats and lints, --build only builds. --keep merges what was found into seeds/, see merge().
A crash is an error; its input stays in artifacts/.
"""
import argparse, os, re, shutil, subprocess, sys, tempfile, tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "crates/vmauth/tests/golden"
KEPT = 40  # inputs a target that machines have found
# Inputs that lie elsewhere in the repository.
MORE_SEEDS = {
    "auth_config": (GOLDEN / "config_ok", GOLDEN / "config_err"),
    "pem": (HERE.parent / "tests/conformance/keys",),
}
HOST = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True, cwd=HERE).stdout)[1]
COVERAGE = (
    "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 "
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
)
# Of the workspace; most of what clippy needs has been checked there.
TARGET = HERE.parent / os.environ.get("CARGO_TARGET_DIR", "target")


def take_lock():
    """The versions of the workspace; what only fuzzing needs is pinned in Cargo.toml."""
    shutil.copyfile(HERE.parent / "Cargo.lock", HERE / "Cargo.lock")


def cargo(*args, **env):
    subprocess.run(["cargo", *args], cwd=HERE, env={**os.environ, "CARGO_INCREMENTAL": "0", **env}, check=True)


def is_slow(binary, path):
    """Whether an input that took too long does so again: a machine that stalls is too late as well."""
    return any(subprocess.run([str(binary), "-timeout=10", str(path)], capture_output=True).returncode for _ in range(2))


def fuzz(target, seconds, keep):
    """The last lines of the run, and whether it found nothing."""
    seeds = HERE / "seeds" / target
    artifacts = HERE / "artifacts" / target
    artifacts.mkdir(parents=True, exist_ok=True)
    binary = HERE / "target" / HOST / "release" / target
    with tempfile.TemporaryDirectory() as found:
        folders = [found, *(str(path) for path in (seeds, *MORE_SEEDS.get(target, ())) if path.is_dir())]
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={artifacts}/"]
        before = set(artifacts.iterdir())
        run = subprocess.run([str(binary), *limits, *folders], capture_output=True, text=True, errors="replace")
        new = set(artifacts.iterdir()) - before
        if run.returncode and new and all(path.name.startswith("timeout-") and not is_slow(binary, path) for path in new):
            for path in new:
                path.unlink()
            return f"an input took too long once and never again\n{run.stderr}", True
        if keep and run.returncode == 0:
            merge(binary, seeds, found)
    return run.stderr, run.returncode == 0


def merge(binary, seeds, found):
    """Keeps a few inputs of each size that reach new code; inputs with names were written by hand and stay."""
    seeds.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as small:
        subprocess.run([str(binary), "-merge=1", "-max_len=2048", small, str(seeds), found], capture_output=True)
        merged = sorted(Path(small).iterdir(), key=lambda path: (path.stat().st_size, path.name))
        for old in seeds.iterdir():
            if re.fullmatch(r"[0-9a-f]{16}", old.name):
                old.unlink()
        for path in merged[:: len(merged) // KEPT + 1]:
            (seeds / path.name[:16]).write_bytes(path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("target", nargs="*")
    args = parser.parse_args()
    take_lock()
    cargo("fmt", "--check")
    if args.check:
        cargo("clippy", "--", "-D", "warnings", CARGO_TARGET_DIR=str(TARGET))
        return 0
    cargo("build", "--release", "--target", HOST, RUSTFLAGS=COVERAGE, RUSTC_BOOTSTRAP="1", CARGO_TARGET_DIR=str(HERE / "target"))
    if args.build:
        return 0
    known = [each["name"] for each in tomllib.loads((HERE / "Cargo.toml").read_text())["bin"]]
    targets = args.target or known
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda target: fuzz(target, args.seconds, args.keep), targets))
    for target, (log, is_good) in zip(targets, results):
        runs = re.search(r"stat::number_of_executed_units: (\d+)", log)
        print(f"{'ok  ' if is_good else 'FAIL'} {target}: {runs[1] if runs else 'no'} runs" + ("" if is_good else f"\n{log[-3000:]}"))
    failed = sum(not is_good for _, is_good in results)
    print(f"fuzz: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
