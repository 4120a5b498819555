"""Flags and metrics that pages of the book name in code spans must be on the reference pages."""

import re


def spans(text):
    """Code spans outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def unknown(text, root):
    """Names that no reference page has."""
    flags = "".join((root / "docs" / name).read_text() for name in ("flags-vmauth.md", "flags-vmagent.md", "flags-devstack.md"))
    # Options of commands beside serving.
    flags += "".join((root / "docs/reference" / f"{name}.md").read_text() for name in ("explain", "lint", "test"))
    metrics = "".join(page.read_text() for page in [root / "docs/reference/metrics.md", *(root / "docs/reference").glob("vmagent-*.md")])
    for span in spans(text):
        if found := re.match(r"-([a-zA-Z0-9][\w.]*)", span):
            whole = "" if re.match(r"-[\w.]*[…*]", span) else "`"   # `-tls…` and `-httpAuth.*` stand for all that begin so
            if f"`-{found[1].rstrip('.')}{whole}" not in flags:
                yield span
        elif re.match(r"(vmauth|vm|vmagent|process)_[a-z0-9_]+$", span.split("{")[0]) and span not in ("vm_access", "vm_account_id", "vm_project_id"):
            name = span.split("{")[0]
            # The agent's page lists some below a heading that has the beginning of their names.
            forms = [name, *(name.removeprefix(stem) for stem in ("vmagent_remotewrite_", "vm_promscrape_") if name.startswith(stem))]
            if not any(f"`{form}" in metrics for form in forms) and not any(name.startswith(stem) for stem in re.findall(r"`([a-z_]+)\*`", metrics)):
                yield span
