#!/usr/bin/env python3
"""What public dashboards and alert rules read: names of metrics, labels and values, as facts kept in `readings/`.

    readings.py FOLDER

FOLDER has the public files `vmauth.json`, `vmagent.json`, `alerts-vmauth.yml`, `alerts-vmagent.yml` and `alerts-health.yml`; they are
another project's work and not part of this one. Run it again when they change; the tests need its output only.
"""

import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).with_name("readings")
SOURCES = {
    "vmauth": ("vmauth.json", "alerts-vmauth.yml", "alerts-health.yml"),
    "vmagent": ("vmagent.json", "alerts-vmagent.yml", "alerts-health.yml"),
}
# Labels that the scraper adds.
SCRAPERS = {"job", "instance"}

KEYWORDS = {"by", "without", "or", "and", "unless", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\$\w+|\d[\w.]*|[a-zA-Z_:][\w:]*|\{|\}|\S')
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
GROUPING = re.compile(r"\b(?:by|on|group_left|group_right)\s*\(([^)]*)\)")


class Reading:
    """An expression's selectors as (name, [(label, operator, value)]), the labels it groups by, and where it stands."""

    def __init__(self, place, selectors, labels):
        self.place, self.selectors, self.labels = place, selectors, labels


def of_expression(place, expression, more_labels=()):
    made = set(re.findall(r'(?s)label_replace\(.*?"(\w+)",\s*"\$1"', expression))
    labels = {name for names in GROUPING.findall(expression) for name in re.findall(r"\w+", names)}
    return Reading(place, selectors(expression), sorted((labels | set(more_labels)) - made - SCRAPERS))


def selectors(expression):
    """(name, [(label, operator, value)]) of every selector."""
    bare = GROUPING.sub(" ", re.sub(r"\bwithout\s*\([^)]*\)", " ", expression))
    found, position = [], 0
    while match := TOKEN.search(bare, position):
        word, position = match.group(), match.end()
        if word == "{":  # a selector without a name
            position = bare.index("}", position)
            continue
        rest = bare[position:].lstrip()
        if not re.match(r"[a-zA-Z_:]", word) or word.lower() in KEYWORDS or rest.startswith("("):
            continue
        matchers = []
        if rest.startswith("{"):
            end = bare.index("}", position)
            matchers, position = MATCHER.findall(bare[position:end]), end + 1
        found.append((word, matchers))
    return found


def rules(path):
    """The alerts of a rule file."""
    for rule in re.split(r"(?m)^\s*- alert:\s*", path.read_text())[1:]:
        indent, expression = re.search(r"(?m)^( +)expr:\s*(\S.*)$", rule).groups()
        if expression in ("|", ">"):
            expression = re.search(rf"(?m)expr:\s*[|>]\n((?:{indent} +.*\n|\s*\n)+)", rule).group(1)
        yield of_expression(f"{path.name}: {rule.split()[0]}", expression, re.findall(r"\$labels\.(\w+)", rule))


def panels(node, title=""):
    """Expressions and variables anywhere in a dashboard."""
    if isinstance(node, list):
        for one in node:
            yield from panels(one, title)
    elif isinstance(node, dict):
        title = node.get("title") or node.get("name") or title
        for field, value in node.items():
            variable = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", value) if isinstance(value, str) else None
            if variable:
                yield of_expression(f"dashboard: ${title}", variable.group(1), [variable.group(2)])
            elif field == "expr" and isinstance(value, str):
                yield of_expression(f"dashboard: {title}", value)
            else:
                yield from panels(value, title)


def load(product):
    """The kept readings by the file that they are from."""
    kept = json.loads((FOLDER / f"{product}.json").read_text())
    return {source: [Reading(**each) for each in readings] for source, readings in kept.items()}


def main():
    folder = Path(sys.argv[1])
    for product, sources in SOURCES.items():
        lines = []
        for name in sources:
            path = folder / name
            found = rules(path) if path.suffix == ".yml" else panels(json.loads(path.read_text()))
            rows = ",\n".join("  " + json.dumps(vars(each)) for each in found)
            lines.append(f" {json.dumps(name)}: [\n{rows}\n ]")
        (FOLDER / f"{product}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
