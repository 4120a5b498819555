"""Blocks of the book that nothing runs. A page of run.py is run by it; other pages are looked at here, and so are blocks that run.py cannot run.

What another test runs stands in `ELSEWHERE`: the page, how the line or block begins, the file of that test, and words of this file that are gone when the test is.
"""

import re

from book.pages import blocks, commands

PAGES = ("README.md", "docs/*.md", "docs/*/*.md", "examples/guide/README.md")
# Their configs and `vmauth` commands are run by crates/vmauth/tests/reference_pages.rs, what `console` shows by command_pages.rs beside it.
REFERENCE = re.compile(r"docs/reference/(?!vmagent-)")
CI = ".ci/run"
ELSEWHERE = [
    ("README.md", "cargo run", ".ci/quickstart.py", 'line.startswith("cargo run")'),
    ("README.md", "curl", ".ci/quickstart.py", "curl .*?"),
    ("README.md", "TOKEN=", ".ci/quickstart.py", "[A-Z]+="),
    ("README.md", "cargo test", CI, "step cargo test --workspace"),
    ("README.md", "cargo build --release -p vmagent && python3 .ci/conformance.py", CI, 'step python3 .ci/conformance.py vmagent "$target/release/vmagent"'),
    ("docs/devstack.md", "cargo run -p devstack", ".ci/tidy.py", '"cargo run -p devstack"'),   # the README's first command
    ("docs/testing.md", "cargo test", CI, "step cargo test --workspace"),
    ("docs/testing.md", "let gate = Gate::new();", "crates/vmauth/tests/behaviour/shutdown.rs", "wait_open(0)"),
    ("docs/deploy.md", "deploy/build", CI, "step deploy/build"),
    ("docs/deploy.md", "python3 tests/deploy/run.py", CI, "step python3 tests/deploy/run.py"),
    # CI has neither a container engine nor systemd: the same images, mounts and arguments in a root of their own; the package unpacked, its scripts run.
    ("docs/deploy.md", "podman run", "tests/deploy/image.py", "podman run"),
    ("docs/deploy.md", "apt-get install", "tests/deploy/packages.py", "dpkg"),
    ("docs/deploy.md", "editor /etc/vmauth/auth.yml", "tests/deploy/packages.py", "etc/vmauth/auth.yml"),
    ("docs/deploy.md", "systemctl enable", "tests/deploy/packages.py", "systemd-analyze"),
    ("docs/deploy.md", "vmauth-prod -dryRun", "tests/deploy/packages.py", "-dryRun"),
    # A chart of Grafana and a cluster are needed; what takes the gateway's place is loaded and compared.
    ("docs/howto/mimir-and-loki.md", "helm upgrade mimir", "tests/deploy/manifests.py", "def gateways"),
    # Dex itself takes minutes to build; by hand.
    ("docs/providers/dex.md", "oauth2:", "tests/dex/run.py", '"text"'),
    ("docs/reference/explain.md", "curl -d", "crates/vmauth/tests/behaviour/status.rs", "/vmauth/explain"),
    ("docs/reference/metrics.md", "… ended=", "crates/vmauth/tests/behaviour/causes.rs", "ended="),
    ("docs/reference/metrics.md", "access_log request_host", "crates/vmauth/tests/behaviour/access_log.rs", "access_log request_host="),
    ("docs/reference/server.md", "curl http://127.0.0.1:8427/debug/pprof/heap", "tests/real/profile_format.py", "/debug/pprof/heap"),
    ("docs/reference/server.md", "curl http://127.0.0.1:8427/debug/pprof/profile", "tests/real/profile_format.py", "/debug/pprof/profile"),
    ("docs/reference/server.md", "go tool pprof", "tests/real/profile_format.py", '"go", "tool", "pprof", "-top"'),
    # The page's containers are the parts of `run`, with the same files.
    ("examples/guide/README.md", "docker compose up", "tests/deploy/manifests.py", "docker-compose"),
    ("examples/guide/README.md", "# The agent's two targets", "tests/real/guide/scenarios.py", "vm_app_version"),
    ("examples/guide/README.md", "examples/guide/run", CI, "step examples/guide/run"),
    ("docs/reference/status.md", "curl --data-binary @token.txt", "crates/vmauth/tests/behaviour/status.rs", "/vmauth/status-token"),
]


def _pieces(page, block):
    """(line, text) of what must be run: each command of a shell block, other blocks whole. A block without a kind is a drawing unless it has commands."""
    if block.info == "sh":
        return [(line, command) for line, command, _ in commands(block)]
    if not block.info and not re.search(r"^(curl|docker|cargo|python3|examples/|[A-Z]+=\$)", block.text, re.M):
        return []
    return [(block.line, block.text)]


def _is_run(page, block, text, run_pages):
    if page in run_pages:
        return block.info == "sh" or block.info.partition(" ")[0] != "text" or " " in block.info
    if REFERENCE.match(page):
        return block.info.startswith(("yaml", "console")) or text.startswith("vmauth ")
    return False


def unseen(root, run_pages):
    """Says what nothing runs, and which entries of the list above are in vain."""
    used, run_pages = set(), {str(page) for page in run_pages}
    for path in sorted(path for pattern in PAGES for path in root.glob(pattern)):
        page = str(path.relative_to(root))
        kind = ""
        for block in blocks(path.read_text()):
            before, kind = kind, block.info
            if (before, kind) == ("yaml invalid", "text"):
                continue   # what that config is refused with is compared beside it
            for line, text in _pieces(page, block):
                fitting = [entry for entry in ELSEWHERE if entry[0] == page and text.startswith(entry[1])]
                used.update(fitting)
                if not fitting and not _is_run(page, block, text, run_pages):
                    yield f"{page}:{line}: nothing runs {text.splitlines()[0]!r}"
    for entry in ELSEWHERE:
        if entry not in used:
            yield f"no page has {entry[:2]}"
        elif not (root / entry[2]).is_file() or entry[3] not in (root / entry[2]).read_text():
            yield f"{entry[2]} has no {entry[3]!r} any more, which is to run {entry[1]!r} of {entry[0]}"
