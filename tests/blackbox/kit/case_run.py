"""A run of one case: what does not depend on which program it is."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..product import Product, StartError
from . import expected
from .case_files import Case, Names
from .stub_server import Journal

RELOAD_PAUSE = 0.3
# What ends a reload in the log. The line of an unchanged config is missing in one of the programs.
RELOADED = r"loaded information about|nothing changed in|reloaded |failed to load|last good config|\terror\t|\"error\""
BUSY = 10  # seconds that a busy machine may take for what is noticed by itself
UNTOLD = 2  # seconds that a reload may take which no line tells of
METRICS_AGE = 1.1  # the page may be cached for a second


@dataclass
class Result:
    """The outcome of a single step."""

    case: str
    step: str
    problems: list[str]
    seen: dict = field(default_factory=dict)
    asked: bool = False


class CaseRun:
    """A run of a single case; client is the kit's module which sends requests."""

    client = None
    exit_within = 30  # how long a separate instance may run
    pause = 0.03  # between two looks at what is expected

    def __init__(self, case: Case, binary: str, directory: Path, names: Names):
        self.case = case
        self.binary = binary
        self.directory = directory
        self.names = names
        self.journal = Journal()
        self.product: Product | None = None
        self.read_at = 0.0

    def launch(self, flags: list[str], env: dict[str, str]) -> None:
        """Start the binary and wait until it listens."""
        self.product = Product(self.binary, flags, env, self.directory)
        text = " ".join(flags)
        addresses = [v for k, v in self.names.values.items() if k.startswith("addr") and v in text]
        self.product.wait_listening(addresses)

    def reload(self, how: str) -> None:
        """Make the binary re-read its config, and wait until it has."""
        mark = len(self.product.lines)
        if how == "HUP":
            self.product.signal("HUP")
        elif how != "none":
            target = "/-/reload" if how == "http" else how
            self.client.send({"send": f"GET {target}"}, self.names.values["addr"])
        time.sleep(RELOAD_PAUSE)
        if how == "HUP" and self.product.lines and self.product.wait_log(mark, "SIGHUP", BUSY):
            self.product.wait_log(mark, RELOADED, UNTOLD)
        elif how == "none" and self.looks_by_itself():
            self.product.wait_log(mark, RELOADED, BUSY)

    def looks_by_itself(self) -> bool:
        """Tell whether the binary reads its config again every few seconds."""
        return any(re.search(r"onfigCheckInterval=\d+m?s$", flag) for flag in self.case.data.get("flags", []))

    def run_once(self, args: list[str], step: dict, result: Result) -> None:
        """Run a separate instance of the binary until it exits."""
        process = subprocess.Popen(
            [self.binary, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **step.get("env", {})},
            cwd=self.directory,
        )
        try:
            out, err = process.communicate(timeout=step.get("exit_within", self.exit_within))
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = None
        stdout, stderr = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        result.seen = {"code": code, "stdout": stdout[-600:], "stderr": stderr[-1500:]}
        result.problems = expected.exit_status(step.get("exit", {}), code, stdout, stderr)

    def check_exit(self, step: dict, log_mark: int) -> list[str]:
        """Check how the binary has ended."""
        code = self.product.wait_exit(step.get("exit_within", self.exit_within))
        return expected.exit_status(step["exit"], code, "", self.product.log(log_mark))

    def last_words(self) -> str:
        """Describe the unexpected end of the binary."""
        tail = "\n      ".join(self.product.lines[-4:])
        return f"the binary has exited; its last words:\n      {tail}"

    def eventually(self, check, timeout: float) -> list[str]:
        """Repeat the check until it passes or the time is over."""
        deadline = time.monotonic() + timeout
        while (problems := check()) and time.monotonic() < deadline:
            time.sleep(self.pause)
        return problems

    def page_may_be_read(self) -> None:
        """Wait until the metrics page is newer than what was read of it."""
        time.sleep(max(0.0, self.read_at + METRICS_AGE - time.monotonic()))
        self.read_at = time.monotonic()


def put(path: Path, data: bytes) -> None:
    """Write a file in one step: what the binary reads meanwhile is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def run_case(case: Case, binary: str, kind: type[CaseRun], checks, attempts: int = 3) -> list[Result]:
    """Run a case and return the outcome of every step which checks something, as checks(step) says.

    It is run again if somebody has taken a port between its choice and its use.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        run = kind(case, binary, Path(directory))
        try:
            run.prepare()
            results = []
            for step in case.steps:
                result = run.perform(step)
                if checks(step) or result.problems:
                    results.append(result)
            return results
        except StartError as err:
            if "address already in use" in str(err).lower() and attempts > 1:
                return run_case(case, binary, kind, checks, attempts - 1)
            names = [step["name"] for step in case.steps if checks(step)]
            results = [Result(case.name, name, ["the binary hasn't started"]) for name in names]
            results[0].problems = [f"cannot start: {err}"]
            return results
        finally:
            run.close()
