"""Loads case files and substitutes placeholders in them."""

from __future__ import annotations

import re
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

MODES = ("project", "original")

_PLACEHOLDER = re.compile(r"\{\{([a-z][^{}]*)\}\}")


class CaseError(Exception):
    """A case file is wrong."""


@dataclass
class Case:
    """A single run of the binary together with the steps to perform on it."""

    topic: str
    data: dict
    path: Path

    @property
    def name(self) -> str:
        """The name shown in reports."""
        return f"{self.topic}: {self.data['name']}"

    @property
    def tags(self) -> list[str]:
        """Free-form tags of the case."""
        return self.data.get("tags", [])

    @property
    def steps(self) -> list[dict]:
        """The steps of the case."""
        return self.data["step"]

    @property
    def cost(self) -> float:
        """How long the case takes, in seconds; the longest cases are started first."""
        pauses = sum(step.get("sleep", 0) for step in self.steps)
        return self.data.get("slow", 0) + pauses

    def mentions(self, pattern: str) -> list[str]:
        """Return every distinct match of the pattern in the texts of the case."""
        found: set[str] = set()
        for text in strings(self.data):
            found.update(re.findall(pattern, text))
        return sorted(found)


def strings(value):
    """Yield every text inside a structure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def load(directory: Path, read) -> list[Case]:
    """Load every case from *.toml files in the directory, or from a single file.

    read(case, where) returns the case as it is performed, and raises CaseError if it's wrong.
    """
    paths = [directory] if directory.is_file() else sorted(directory.glob("*.toml"))
    if not paths:
        raise CaseError(f"there are no case files in {directory}")
    cases = []
    for path in paths:
        try:
            data = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as err:
            raise CaseError(f"{path}: {err}") from None
        for case in data.get("case", []):
            case = read(case, f"{path.name}: {case.get('name', '?')}")
            cases.append(Case(data.get("topic", path.stem), case, path))
    return cases


def for_mode(cases: list[Case], mode: str, expectations: set[str]) -> list[Case]:
    """Keep the cases and the steps which concern the given mode, if they check anything."""
    kept = []
    for case in cases:
        steps = [step for step in case.steps if step.get("only", mode) == mode]
        checks = any(expectations & step.keys() for step in steps)
        if checks and case.data.get("only", mode) == mode:
            kept.append(Case(case.topic, {**case.data, "step": steps}, case.path))
    return kept


def known(table: dict, keys: set[str], where: str) -> None:
    """Refuse misspelled keys, since these would silently check nothing."""
    if unknown := table.keys() - keys:
        raise CaseError(f"{where}: unknown keys: {', '.join(sorted(unknown))}")


def known_mode(table: dict, where: str) -> None:
    """Refuse a mode which doesn't exist."""
    if table.get("only", MODES[0]) not in MODES:
        raise CaseError(f"{where}: `only` must be one of: {', '.join(MODES)}")


@dataclass
class Names:
    """Substitutes {{placeholders}}."""

    values: dict[str, str] = field(default_factory=dict)

    def expand(self, value):
        """Substitute placeholders in a text or in every text of a structure."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(self._replace, value)
        if isinstance(value, list):
            return [self.expand(item) for item in value]
        if isinstance(value, dict):
            return {self.expand(k): self.expand(v) for k, v in value.items()}
        return value

    def _replace(self, match: re.Match) -> str:
        name = match.group(1)
        if name in self.values:
            return self.values[name]
        word, _, rest = name.partition(" ")
        if (value := self.word(word, rest)) is not None:
            return value
        if word == "repeat" and (repeated := re.fullmatch(r"(\S+) (\d+)", rest)):
            return repeated.group(1) * int(repeated.group(2))
        if moment := re.fullmatch(r"(now|now_ms)([+-]\d+)?", word):
            unit = 1000 if moment.group(1) == "now_ms" else 1
            return str(int(time.time() * unit) + int(moment.group(2) or 0))
        return match.group(0)

    def word(self, _word: str, _rest: str) -> str | None:
        """Return the value of a placeholder that only this kit has."""
        return None
