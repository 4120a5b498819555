#!/usr/bin/env python3
"""Makes the pictures of the documentation: the page of the state, a checked token, explanations in a terminal.

    pictures.py VMAUTH

Writes docs/images/status.png, status-token.png and explain.png; look at them before you commit them. Needs Chromium.
"""
import base64
import html
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.browser import Browser  # noqa: E402
from blackbox.report import wait_for  # noqa: E402

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs/images"

BASE = """
unauthorized_user:
  url_map:
  - src_paths: [/public/.*]
    url_prefix: http://127.0.0.1:{0}/
"""

TEAM = """
users:
- username: sales
  password: s3cret
  url_map:
  - src_paths: [/api/v1/query, /api/v1/query_range]
    url_prefix: [http://127.0.0.1:{0}/select/1/prometheus/, http://127.0.0.1:9/select/1/prometheus/]
  - src_paths: [/api/v1/write]
    url_prefix: http://127.0.0.1:{1}/insert/1/prometheus/
- name: tenants
  jwt:
    skip_verify: true
    match_claims: {{team: sales}}
  url_prefix: http://127.0.0.1:{0}/select/{{{{.MetricsTenant}}}}/prometheus/
"""


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers everything."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def token(**claims):
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


def ask(url, user):
    request = urllib.request.Request(url, headers={"Authorization": "Basic " + base64.b64encode(user.encode()).decode()})
    try:
        urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError:
        pass


def terminal(browser, text, path):
    style = "margin:12px;background:#0d1117;color:#e6edf3;font:13px/17px DejaVu Sans Mono,monospace"
    page = f'<body style="{style}"><pre style="margin:0;font:inherit">{html.escape(text)}'
    browser.open("about:blank")
    browser.run(f"document.documentElement.innerHTML = {page!r}")
    browser.screenshot(path)


def explanations(vmauth, folder):
    shown = []
    for words in ("-u sales:s3cret /api/v1/query?query=up", "-u sales:wrong /api/v1/query", "-u sales:s3cret /api/v1/admin"):
        command = [str(vmauth), "explain", "-auth.config=conf.d", *words.split()]
        printed = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
        shown.append(f"$ vmauth explain -auth.config=conf.d {words}\n{printed}")
    return "\n".join(shown)


def main():
    vmauth = Path(sys.argv[1]).resolve()
    folder = Path(tempfile.mkdtemp(prefix="vmauth-pictures-"))
    ports = backend(), backend()
    (folder / "conf.d").mkdir()
    (folder / "conf.d/00-base.yml").write_text(BASE.format(*ports))
    (folder / "conf.d/20-sales.yml").write_text(TEAM.format(*ports))
    flags = ["-auth.config=conf.d", "-httpListenAddr=127.0.0.1:0", "-httpInternalListenAddr=127.0.0.1:0", "-workers=2"]
    log = open(folder / "log", "wb")
    process = subprocess.Popen([vmauth, *flags], cwd=folder, stderr=log)
    browser = None
    try:
        lines = lambda: (folder / "log").read_text().splitlines()
        wait_for("the start", lambda: any("started vmauth in" in line for line in lines()))
        public, internal = [line.split("started server at ")[1].strip("/") for line in lines() if "started server at" in line]
        (folder / "conf.d/30-new.yml").write_text("users:\n- username: new\n  pasword: x\n  url_prefix: http://127.0.0.1:9/\n")
        ask(internal + "/-/reload", "")
        for _ in range(40):
            ask(public + "/api/v1/query?query=up", "sales:s3cret")
        for path, user in (("/api/v1/admin", "sales:s3cret"), ("/api/v1/query", "sales:wrong"), ("/public/x", "")):
            ask(public + path, user)
        (folder / "conf.d/30-new.yml").unlink()
        browser = Browser(1400, 560)
        browser.open(internal + "/vmauth/status")
        browser.wait("document.querySelector('#live').innerText == 'live'")
        browser.run("document.querySelector('#user-1').open = true; 1")
        browser.screenshot(IMAGES / "status.png")
        pasted = token(exp=int(time.time()) - 600, sub="grafana", team="sales", vm_access={"metrics_account_id": 7})
        browser.run(f"document.querySelector('textarea').value = '{pasted}'; 1")
        browser.leave("document.querySelector('form[action^=status-token] button').click()")
        browser.screenshot(IMAGES / "status-token.png")
        browser.close()
        text = explanations(vmauth, folder)
        browser = Browser(1000, 17 * text.count("\n") + 26)
        terminal(browser, text, IMAGES / "explain.png")
    finally:
        if browser:
            browser.close()
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
