"""The forms of an expected value, the same in cases of both kits; README.md of the kits describes them.

Every check returns a list of differences, which is empty on success.
"""

from __future__ import annotations

import re
import string
from urllib.parse import unquote_to_bytes

from ..metrics import find
from ..product import Product
from ..wire import Headers

EXIT_KEYS = {"code", "stdout", "stderr", "output", "absent"}
UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")


def show(value) -> str:
    """Show a value in a diff, shortening long texts."""
    shown = repr(value)
    return shown if len(shown) <= 900 else f"{shown[:900]}... ({len(shown)} chars)"


def diff(what: str, want, got) -> list[str]:
    """Report a difference."""
    return [f"{what}: want {show(want)}, got {show(got)}"]


def in_range(want, got: float) -> bool:
    """Check a number against a number or a "low..high" text with optional bounds."""
    if not isinstance(want, str):
        return got == want
    low, _, high = want.partition("..")
    return (not low or got >= float(low)) and (not high or got <= float(high))


def text(what: str, want, got: str | None) -> list[str]:
    """Check a text, which is None when it is absent."""
    if want is True:
        ok = got is not None
    elif want is False:
        ok = got is None
    elif got is None:
        ok = False
    elif isinstance(want, str) and want.startswith("~"):
        ok = re.fullmatch(want[1:], got, re.S) is not None
    else:
        ok = got == str(want)
    return [] if ok else diff(what, want, got)


def target(want, got: str) -> list[str]:
    """Check the meaning of a request target: the path, and the values of every query arg."""
    if not isinstance(want, str) or want.startswith("~"):
        return text("got.target", want, got)
    ok = normal_path(want) == normal_path(got) and query_args(want) == query_args(got)
    return [] if ok else diff("got.target", want, got)


def normal_path(of_target: str) -> str:
    """Return the path without needless escapes, and with the needed ones in upper case."""

    def replace(match: re.Match) -> str:
        char = chr(int(match.group(1), 16))
        return char if char in UNRESERVED else match.group(0).upper()

    return re.sub(r"%([0-9A-Fa-f]{2})", replace, of_target.partition("?")[0])


def query_args(of_target: str) -> dict[bytes, list[bytes]]:
    """Return decoded values of every arg; neither order of names nor escaping matters."""
    args: dict[bytes, list[bytes]] = {}
    for part in filter(None, of_target.partition("?")[2].split("&")):
        name, _, value = (
            unquote_to_bytes(piece.replace("+", " ").encode("latin-1"))
            for piece in part.partition("=")
        )
        args.setdefault(name, []).append(value)
    return args


def headers(what: str, want: dict, got: Headers) -> list[str]:
    """Check the listed headers; a list means that the header is repeated."""
    out = []
    for name, value in want.items():
        values = got.all(name)
        if isinstance(value, list):
            if values != value:
                out += diff(f"{what}.{name}", value, values)
        elif len(values) > 1:
            out += diff(f"{what}.{name}", value, values)
        else:
            out += text(f"{what}.{name}", value, values[0] if values else None)
    return out


def counts(what: str, want: dict, got: list) -> list[str]:
    """Check how many times every item occurs."""
    names = set(map(str, want)) | set(map(str, got))
    found = {name: sum(1 for item in got if str(item) == name) for name in sorted(names)}
    ok = all(in_range(want.get(name, 0), n) for name, n in found.items())
    return [] if ok else diff(what, want, {k: v for k, v in found.items() if v})


def listed(value) -> list:
    """Return a list as it is, and anything else as a list of one item."""
    return value if isinstance(value, list) else [value]


def describe(got) -> str:
    """Describe a reply of a client in a diff."""
    if got.message is None:
        return got.error or ("the connection is closed" if got.closed else "no reply")
    return f"{got.status} {got.message.body[:300].decode('utf-8', 'replace')!r}"


def metrics(want: dict, got: dict[str, float]) -> list[str]:
    """Check values of metrics; false means that the series must be absent."""
    out = []
    for name, value in want.items():
        found = find(got, name)
        if value is False or value is True:
            ok = (found is not None) == value
        else:
            ok = found is not None and in_range(value, found)
        if not ok:
            out += diff(f"metric {name}", value, found)
    return out


def log(step: dict, product: Product, mark: int, within: float) -> list[str]:
    """Check that the log since mark has, within so many seconds, or hasn't the given patterns."""
    out = []
    for pattern in listed(step.get("log", [])):
        if not product.wait_log(mark, pattern, within):
            tail = "\n      ".join(product.lines[mark:][-6:])
            out.append(f"log: nothing matches {pattern!r}; the last lines:\n      {tail}")
    for pattern in listed(step.get("log_absent", [])):
        if match := re.search(pattern, product.log(mark), re.M):
            out.append(f"log: unexpected {match.group(0)!r}")
    return out


def exit_status(want: dict, code: int | None, stdout: str, stderr: str) -> list[str]:
    """Check how the process has ended."""
    out = []
    if "code" in want:
        if want["code"] == "any":
            ok = code is not None
        elif want["code"] == "nonzero":
            ok = code is not None and code != 0
        else:
            ok = code == want["code"]
        if not ok:
            out += diff("exit.code", want["code"], "still running" if code is None else code)
    texts = {"stdout": stdout, "stderr": stderr, "output": stdout + stderr}
    for name, value in texts.items():
        for pattern in listed(want.get(name, [])):
            if not re.search(pattern, value, re.M):
                out += diff(f"exit.{name}", pattern, value[-600:])
    for pattern in listed(want.get("absent", [])):
        if match := re.search(pattern, texts["output"], re.M):
            out.append(f"exit.output: unexpected {match.group(0)!r}")
    return out
