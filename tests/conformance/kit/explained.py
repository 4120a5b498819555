"""Asks `explain` about every request of the cases, and compares its answer with what the running binary did."""

from __future__ import annotations

import json
import os
import re
import subprocess

from blackbox.kit.case_run import Result

from . import client
from .runner import Run

# What load, time and backends decide, not the config.
DYNAMIC = {0, 408, 429, 502, 503}
# Sent by other means than a plain connection from this machine.
OTHER_WAYS = {"at", "tls", "cert", "proxy", "background", "await", "signal", "trailers", "half_close", "exit"}
# Written for the connection or the body, not by rules.
FRAMING = {"host", "content-length", "transfer-encoding", "connection", "trailer", "te", "upgrade", "expect"}
SPLIT_URL = re.compile(r"https?://[^/]*?(:\d+)?(/.*|)", re.S)


class ExplainedRun(Run):
    """A run that reports only where `explain` and the binary disagree."""

    def __init__(self, *args):
        super().__init__(*args)
        self.is_stale = False

    def act(self, step: dict) -> list[client.Reply]:
        """Note whether the file is what the process has loaded."""
        if "config" in step or "reload" in step:
            # A blank file is refused on a reload.
            texts = [step.get("config", "-"), *step.get("files", {}).values()]
            self.is_stale = any(not text.strip() for text in texts) or ("config" in step and step.get("reload") == "none")
        return super().act(step)

    def compare(self, step: dict, result: Result, replies, mark, log_mark: int) -> None:
        """Compare explanation and behaviour, once the case itself has seen what it waits for."""
        super().compare(step, result, replies, mark, log_mark)
        result.problems = []
        if "send" not in step or OTHER_WAYS & step.keys() or len(replies) != 1 or self.is_stale:
            return
        flags = " ".join(self.case.data.get("flags", []))
        if "useProxyProtocol" in flags or "-auth.config=http" in flags:
            return
        if step.get("host") is False or not step["send"].split(" ", 1)[1].startswith("/"):
            return
        target = step["send"].split(" ", 1)[1]
        received = [request for request in self.journal.since(mark)[0] if not is_background(request, target)]
        answer = self.explain(step)
        if answer is not None:
            result.asked = True
            result.problems = disagreements(answer, replies[0].status, received, self.backends)

    def explain(self, step: dict) -> dict | None:
        """The answer of `explain`, or nothing if the config itself is refused."""
        head = client.build_request(step, self.names.values["addr"]).split(b"\r\n\r\n", 1)[0].decode("latin-1")
        request, *headers = head.split("\r\n")
        method, target, _ = request.split(" ", 2)
        flags = self.names.expand(self.case.data.get("flags", []))
        if not any(flag.startswith("-auth.config=") for flag in flags):
            flags.append(f"-auth.config={self.directory / 'auth.yml'}")
        command = [self.binary, "explain", *flags, "-json", "-secrets", "-method", method]
        for line in headers:
            command += ["-header", line]
        asked = subprocess.run(
            [*command, "--", target],
            capture_output=True,
            text=True,
            env={**os.environ, **self.names.expand(self.case.data.get("env", {}))},
            cwd=self.directory,
            check=False,
        )
        if asked.returncode in (0, 1):
            return json.loads(asked.stdout)
        if refused := re.search(r"refuses to read such a request, with status (\d+)", asked.stderr):
            return {"verdict": "denied", "status": int(refused[1]), "summary": asked.stderr.strip(), "backends": []}
        if "failed to" in asked.stderr or "is no header" in asked.stderr or "is no URL" in asked.stderr:
            return None
        return {"verdict": "error", "status": None, "summary": asked.stderr.strip(), "backends": []}


def has_asked(result: Result) -> bool:
    """Whether there was something to compare."""
    return result.asked or bool(result.problems)


def is_background(request, target: str) -> bool:
    """Whether a backend was asked by the control plane: for keys, or with a push of metrics."""
    path = request.target.split("?", 1)[0]
    return path != target.split("?", 1)[0] and path.endswith(
        ("/openid-configuration", "/keys", "/certs", "/push")
    )


def disagreements(answer: dict, status: int, received: list, backends: dict) -> list[str]:
    """What the explanation says otherwise than the binary did."""
    said = answer["summary"]
    if any("verifier not initialed" in row["why"] for row in answer.get("users", [])):
        return []  # the process may still have keys that the provider does not tell any more
    if answer["verdict"] == "denied":
        problems = [] if not received else ["explained as denied, but a backend got it"]
        if status not in (answer["status"], 0):
            problems.append(f"status {status}, explained as {answer['status']}")
        return [f"{problem}: {said}" for problem in problems]
    if answer["verdict"] == "own page":
        return [f"explained as a page of its own, but a backend got it: {said}"] if received else []
    if answer["verdict"] != "allowed":
        return [f"explain failed: {said}"]
    if not received:
        return [] if status in DYNAMIC else [f"status {status} without a backend, explained as {said}"]
    problems = []
    tries = {SPLIT_URL.fullmatch(attempt["url"]).groups() for attempt in answer["backends"]}
    for request in received:
        port = f":{backends[request.stub].port}"
        if (port, request.target) not in tries and (None, request.target) not in tries:
            problems.append(f"{request.stub} got {request.target}, explained as {sorted(tries, key=str)}")
    sent = sorted((name.lower(), value) for name, value in answer["request"]["headers"])
    # Without rules of its own, any backend gets the same fields.
    got = sorted((k.lower(), v) for k, v in received[0].message.headers.pairs if k.lower() not in FRAMING)
    sent = [(name, value) for name, value in sent if name not in FRAMING]
    if got != sent:
        problems.append(f"headers {got}, explained as {sent}")
    return problems
