#!/usr/bin/env python3
"""Writes what vmauth and vmagent are made of as CycloneDX 1.5, from Cargo.lock and `cargo metadata`; nothing is fetched.

    sbom.py --version X --out FILE.json

Only what is linked for Linux: no dependencies of tests and builds. A script, because cargo-cyclonedx would be built for minutes.
"""

import argparse
import json
import os
import platform
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("vmauth", "vmagent")


def metadata():
    triple = f"{platform.machine()}-unknown-linux-gnu"
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--offline", f"--filter-platform={triple}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def linked(nodes, start):
    """The packages that end up in these, with what each needs."""
    needs, todo = {}, list(start)
    while todo:
        package = todo.pop()
        if package not in needs:
            kinds = ((each["pkg"], {kind["kind"] for kind in each["dep_kinds"]}) for each in nodes[package]["deps"])
            needs[package] = sorted(name for name, kind in kinds if None in kind)
            todo += needs[package]
    return needs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    checksums = {(each["name"], each["version"]): each.get("checksum") for each in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    start = [package["id"] for package in data["packages"] if package["name"] in PROGRAMS and package["source"] is None]
    needs = linked({node["id"]: node for node in data["resolve"]["nodes"]}, start)

    def reference(package):
        return f"pkg:cargo/{packages[package]['name']}@{packages[package]['version']}"

    def component(package):
        about = packages[package]
        found = {"type": "application" if package in start else "library", "bom-ref": reference(package), "name": about["name"],
                 "version": about["version"], "purl": reference(package)}
        if about["license"]:
            found["licenses"] = [{"expression": about["license"].replace("/", " OR ")}]
        if checksum := checksums.get((about["name"], about["version"])):
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if about["description"]:
            found["description"] = " ".join(about["description"].split())
        return found

    components = sorted((component(package) for package in needs), key=lambda each: each["bom-ref"])
    created = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1,
        "metadata": {
            "timestamp": created.isoformat().replace("+00:00", "Z"),
            "component": {"type": "application", "bom-ref": "vmutils", "name": "vmutils", "version": options.version,
                          "licenses": [{"expression": "Apache-2.0"}]},
        },
        "components": components,
        "dependencies": sorted(
            [{"ref": "vmutils", "dependsOn": sorted(reference(each) for each in start)},
             *({"ref": reference(package), "dependsOn": [reference(each) for each in needed]} for package, needed in needs.items())],
            key=lambda each: each["ref"],
        ),
    }
    Path(options.out).write_text(json.dumps(document, indent=1) + "\n")
    print(f"sbom: {len(components)} components")


if __name__ == "__main__":
    main()
