#!/usr/bin/env python3
"""Checks the schema of `vmauth schema` by a validator of others: schema.py BINARY.

Every config that loads must pass it: the golden ones, the examples. Files whose structure is wrong must fail. Installs jsonschema and
PyYAML into a folder of its own when they are missing.
"""
import json, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "crates/vmauth/tests/golden"
# Wrong fields and wrong types; what else is refused needs more than a schema.
STRUCTURAL = ["a_list", "a_text", "helper_key", "unknown_fields", "unknown_top", "user_is_a_text", "users_is_a_text", "wrong_types"]

try:
    import jsonschema, yaml
except ImportError:
    place = tempfile.TemporaryDirectory(prefix="schema-")
    folder = place.name
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "10", "--target", folder, "jsonschema", "pyyaml"]
    subprocess.run(pip, check=True)
    sys.path.insert(0, folder)
    import jsonschema, yaml


class Loader(yaml.SafeLoader):
    """Dates stay texts, as they are for vmauth."""


Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def document(path):
    loader = Loader(path.read_text(encoding="utf-8-sig"))
    return loader.get_data() if loader.check_data() else None


def main():
    schema = json.loads(subprocess.run([sys.argv[1], "schema"], check=True, capture_output=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    passed = failed = 0
    good = sorted((GOLDEN / "config_ok").glob("*.yaml"))
    good += [path for path in sorted((ROOT / "examples").glob("*.yml")) if path.name not in ("vmagent.yml", "compose.yml")]
    for path, is_good in [(path, True) for path in good] + [(GOLDEN / f"config_err/{name}.yaml", False) for name in STRUCTURAL]:
        errors = list(validator.iter_errors(document(path)))
        if is_good == (not errors):
            passed += 1
            continue
        failed += 1
        print(f"FAIL {path.name}: {errors[0].message if errors else 'passes'} {list(errors[0].path) if errors else ''}"[:300])
    print(f"schema: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
