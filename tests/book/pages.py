"""Pages of the book as this test reads them: fenced blocks in their order, and what a command promises.

A `yaml` block is auth.yml; a block whose info is a kind and a name (`yaml datasources.yml`, `nginx nginx.conf`) is a file of that name. `json token` holds the claims of a token.
`yaml datasources.yml` is Grafana's and `yaml pod.yml` the kubelet's (readers.py); of any other file a later command must say its name.
Lines of `sh` blocks are run. A promise stands behind the command:

    curl -u alice:secret http://127.0.0.1:8427/api/v1/query     # 200 → http://victoria-metrics:8428/api/v1/query with X-Scope-OrgID: 7, without Authorization
    curl http://127.0.0.1:8427/                                 # 401 missing 'Authorization'

status, words of the answer, and what the backend got. Other commands say `# exit 1` when they are meant to fail, or words of what they print.
"""

import re
from dataclasses import dataclass, field

_PROMISE = re.compile(r"(?P<status>\d{3})(?: (?P<words>[^→]+?))?(?: ?→ (?P<url>\S+?)(?: with (?P<with>.+?))?(?:,? without (?P<without>.+))?)?")


@dataclass
class Block:
    info: str
    line: int
    text: str


@dataclass
class Promise:
    status: str
    words: str = ""
    url: str = ""
    with_headers: list = field(default_factory=list)
    without_headers: list = field(default_factory=list)


def blocks(text):
    """All fenced blocks, those in lists too."""
    found, opened = [], None
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("```"):
            if opened is None:
                opened = Block(bare[3:].strip(), number + 1, "")
            else:
                found.append(opened)
                opened = None
        elif opened is not None:
            opened.text += line + "\n"
    if opened is not None:
        raise ValueError(f"line {opened.line}: a block is never closed")
    return found


def commands(block):
    """(line, command, what is promised) of a `sh` block. A backslash at the end, or a quote that is open, joins lines."""
    whole, first = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        first = first if whole else number
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1].rstrip() + " "
            continue
        if whole.count("'") % 2:
            whole += "\n"
            continue
        command, _, promised = whole.partition("   # ") if "   # " in whole else whole.partition("  # ")
        whole = ""
        if command.strip() and not command.lstrip().startswith("#"):
            yield first, command.strip(), promised.strip()


def promise(text):
    """What a curl promises, or None when the text cannot be read."""
    found = _PROMISE.fullmatch(text)
    if not found:
        return None
    listed = lambda name: [item.strip() for item in (found[name] or "").split(", ") if item.strip()]
    return Promise(found["status"], (found["words"] or "").strip(), found["url"] or "", listed("with"), listed("without"))
