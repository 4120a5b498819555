#!/usr/bin/env python3
"""Checks which rooms import which: arrows.py. The allowed arrows stand in docs/arrows.txt, a page for people.

A room is a module directly below a crate's root, with everything in it. An import is a `use`, or a path in code, that leads from one room
into another; code of tests is not looked at. Errors are arrows that are not allowed, rooms that are not listed or gone, arrows that point
upwards in the list, and circles between sibling modules at any depth. A module and its own children are one thing and may refer to each other.
"""
import re, sys, tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/arrows.txt"
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod (\w+)\s*;")
INLINE_TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*mod \w+ \{.*", re.S)
USE = re.compile(r"^\s*(pub(?:\([^)]*\))? )?use ([^;]+);", re.M)
PATH = re.compile(r"(?<![\w:])\$?(crate|super|self)((?:::\w+)+)")
MACRO = re.compile(r"macro_rules! (\w+)")


class Module:
    """One module: its path below the crate's root, what it refers to, and which foreign names it offers as its own."""

    def __init__(self, path, text):
        self.path, self.references, self.offers = path, set(), {}
        text = INLINE_TESTS.sub("", re.sub(r"//[^\n]*", "", text))
        self.test_modules = set(TEST_MODULE.findall(text))
        self.macros = MACRO.findall(text) if "#[macro_export]" in text else []
        for is_public, tree in USE.findall(text):
            for name, path in expand(re.sub(r"\s+", " ", tree).strip()):
                self.refer(path)
                if name != "*":
                    self.offers[name] = path
        for start, rest in PATH.findall(USE.sub("", text)):
            self.refer([start, *rest.strip(":").split("::")])

    def refer(self, path):
        if path[0] in ("crate", "super", "self"):
            self.references.add(tuple(path))


def expand(tree, before=()):
    """The (name, path) pairs of a use tree."""
    head, brace, rest = tree.partition("{")
    names = [part for part in head.strip().split("::") if part]
    if brace:
        inner, depth, start = rest[: rest.rindex("}")], 0, 0
        for at, letter in enumerate(inner + ","):
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                if part := inner[start:at].strip():
                    yield from expand(part, (*before, *names))
                start = at + 1
        return
    last, _, alias = names[-1].partition(" as ")
    path = [*before, *names[:-1], last]
    if last == "self" and len(path) > 1:
        path.pop()
    yield alias or path[-1], path


class Crate:
    def __init__(self, folder):
        self.name, self.modules = folder.name, {}
        skipped = set()
        for file in sorted((folder / "src").rglob("*.rs"), key=lambda file: len(file.parts)):
            parts = file.relative_to(folder / "src").with_suffix("").parts
            path = () if parts in (("lib",), ("main",)) else parts
            if any(parts[:depth] in skipped for depth in range(1, len(parts) + 1)) or parts == ("main",):
                continue
            module = self.modules[path] = Module(path, file.read_text())
            skipped |= {(*path, name) for name in module.test_modules}
        macros = {name: module.path for module in self.modules.values() for name in module.macros}
        root = self.modules.setdefault((), Module((), ""))
        root.offers.update({name: ["crate", *path] for name, path in macros.items() if path})

    def resolve(self, module, path, depth=0):
        """The module that a path leads to, as far as modules go."""
        place = () if path[0] == "crate" else module
        rest = list(path[1:])
        if path[0] == "super":
            place = module[:-1]
            while rest and rest[0] == "super":
                place, rest = place[:-1], rest[1:]
        while rest:
            if (*place, rest[0]) in self.modules:
                place, rest = (*place, rest[0]), rest[1:]
                continue
            offer = self.modules[place].offers.get(rest[0]) if place in self.modules else None
            if offer and depth < 8:
                if offer[0] in ("crate", "super", "self"):
                    return self.resolve(place, offer, depth + 1)
                if (*place, offer[0]) in self.modules:
                    return self.resolve(place, ["self", *offer], depth + 1)
            break
        return place

    def arrows(self):
        """(module, module) pairs."""
        return {
            (path, target)
            for path, module in self.modules.items() if path
            for target in (self.resolve(path, reference) for reference in module.references)
            if target and target != path
        }


def read_page():
    """{crate: [(room, {rooms})]} in the order of the page, and {crate: {crates}}."""
    crates, layers, rooms = {}, {}, None
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        text = line.partition("#")[0].rstrip()
        if not text:
            continue
        name, arrow, targets = text.partition("->")
        if not arrow:
            raise SystemExit(f"{PAGE.name}:{number}: no arrow")
        if line[0] != " ":
            rooms = crates.setdefault(name.strip(), [])
            layers[name.strip()] = set(targets.split())
        else:
            rooms.append((name.strip(), set(targets.split())))
    return crates, layers


def circles(arrows):
    """Circles between siblings, each as a sorted list of modules."""
    graph = {}
    for source, target in arrows:
        depth = next((at for at, (a, b) in enumerate(zip(source, target)) if a != b), None)
        if depth is not None:
            graph.setdefault(source[: depth + 1], set()).add(target[: depth + 1])
    reached = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for target in graph.get(todo.pop(), ()):
                if target not in seen and target[:-1] == start[:-1]:
                    seen.add(target)
                    todo.append(target)
        reached[start] = seen
    found = {tuple(sorted(b for b in reached[a] if a in reached.get(b, ()))) for a in reached if a in reached[a]}
    return sorted(found)


def problems_of(crate, rooms, layer):
    allowed, order = dict(rooms), [room for room, _ in rooms]
    real = {path[0] for path in crate.modules if path}
    yield from (f"{crate.name}: {room} is not in {PAGE.name}" for room in sorted(real - allowed.keys()))
    yield from (f"{crate.name}: {room} is in {PAGE.name} but gone" for room in sorted(allowed.keys() - real))
    for at, (room, targets) in enumerate(rooms):
        for target in sorted(targets - set(order[at + 1:])):
            yield f"{PAGE.name}: {crate.name}: {room} -> {target} does not point down"
    arrows = crate.arrows()
    for source, target in sorted(arrows):
        if source[0] != target[0] and target[0] not in allowed.get(source[0], ()):
            yield f"{crate.name}: {'::'.join(source)} imports {'::'.join(target)}"
    for circle in circles(arrows):
        yield f"{crate.name}: a circle: {', '.join('::'.join(path) for path in circle)}"
    manifest = tomllib.loads((ROOT / "crates" / crate.name / "Cargo.toml").read_text())
    ours = {path.name for path in (ROOT / "crates").iterdir()}
    for other in sorted(ours & manifest.get("dependencies", {}).keys() - layer):
        yield f"{crate.name}: depends on {other}"


def main():
    crates, layers = read_page()
    passed = failed = 0
    for name, rooms in crates.items():
        found = list(problems_of(Crate(ROOT / "crates" / name), rooms, layers[name]))
        for problem in found:
            print(f"FAIL {problem}")
        passed, failed = passed + len(rooms), failed + len(found)
    print(f"arrows: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
