#!/usr/bin/env python3
"""Checks licences, sources and bans of all dependencies against deny.toml, with nothing but cargo metadata.

`cargo deny check bans licenses sources` reads the same file and says more; building it on each new machine would cost minutes, so it
is not needed here. Prints one line for each problem; exits with 1 if there is any.
"""
import json, re, subprocess, sys, tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def cargo(*args):
    return subprocess.run(["cargo", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def packages_in_use():
    """Packages that are really built or tested; the metadata alone also names those of features nobody switched on."""
    data = json.loads(cargo("metadata", "--format-version=1", "--locked", f"--filter-platform={TARGET}"))
    tree = cargo("tree", "--workspace", "--locked", f"--target={TARGET}", "--edges=normal,build,dev", "--prefix=none", "--format={p}")
    used = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = [package for package in data["packages"] if (package["name"], "v" + package["version"]) in used]
    return packages, set(data["workspace_members"])


def is_allowed(expression, allowed):
    """Whether the allowed licences suffice for an SPDX expression."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return token in allowed

    return either() and not tokens


def main():
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(deny["licenses"]["allow"])
    exceptions = {item["crate"]: set(item["allow"]) for item in deny["licenses"].get("exceptions", [])}
    banned = {item["crate"] for item in deny["bans"].get("deny", [])}
    problems, used = [], set()
    packages, members = packages_in_use()
    for package in packages:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        if package["name"] in banned:
            problems.append(f"{name}: banned by deny.toml")
        if package["id"] not in members and not (package["source"] or "").startswith("registry+"):
            problems.append(f"{name}: not from the registry but {package['source']}")
        wildcards = [item["name"] for item in package["dependencies"] if item["req"] == "*" and not item.get("path")]
        if package["id"] in members and wildcards:
            problems.append(f"{name}: no version for {', '.join(wildcards)}")
        if not licence:
            problems.append(f"{name}: no licence expression")
        elif not is_allowed(licence, allowed | exceptions.get(package["name"], set())):
            problems.append(f"{name}: {licence}")
        used |= {one for one in allowed if licence and one in licence}
    problems += [f"deny.toml: {one} is allowed but not used" for one in sorted(allowed - used)]
    for problem in problems:
        print(f"FAIL {problem}")
    print(f"dependencies: {len(packages) - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
