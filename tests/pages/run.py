#!/usr/bin/env python3
"""The pages of vmauth as a browser shows them: the state with and without scripts, the token check, replies to scripts of UIs.

    run.py VMAUTH [FOLDER]

Needs Chromium; it is driven by its own protocol. With FOLDER, screenshots are put there. Ends with `N passed, N failed`.
"""
import base64
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.browser import Browser  # noqa: E402
from blackbox.report import check, summary, wait_for  # noqa: E402

PATIENCE = 60


class Page(Browser):
    """The browser with what these checks need besides."""

    def scripts(self, on):
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def text_of(self, selector):
        return self.run(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''")


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers everything."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        body = b"<title>ui</title><h1>a page of a UI</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


CONFIG = """
users:
- username: alice
  password: hunter2
  url_map:
  - src_paths: [/ui, /api/v1/query, /select/.*]
    url_prefix: http://127.0.0.1:{good}/
  - src_paths: [/api/v1/dead]
    url_prefix: http://127.0.0.1:9/
  deny_paths: [/api/v1/admin.*]
- {{username: "<script>alert(1)</script>", password: x, url_prefix: "http://127.0.0.1:9/"}}
"""


def start(binary, folder, good):
    config = folder / "auth.yml"
    config.write_text(CONFIG.format(good=good))
    log = open(folder / "log", "wb")
    process = subprocess.Popen([binary, f"-auth.config={config}", "-httpListenAddr=127.0.0.1:0", "-http.header.csp=default-src 'self'",
                                "-httpInternalListenAddr=127.0.0.1:0", "-workers=1"], stderr=log)

    def addresses():
        lines = (folder / "log").read_text().splitlines()
        if not any("started vmauth in" in line for line in lines):
            return None
        return [line.split("started server at ")[1].strip("/") for line in lines if "started server at" in line]

    return process, wait_for("addresses in the log", addresses, PATIENCE)


def with_credentials(url, user="alice:hunter2"):
    request = urllib.request.Request(url, headers={"Authorization": "Basic " + base64.b64encode(user.encode()).decode()})
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE).status
    except urllib.error.HTTPError as error:
        return error.code


def state_page(browser, public, internal, pictures):
    for path in ("/ui", "/ui", "/api/v1/dead"):
        with_credentials(public + path)
    browser.scripts(False)
    browser.open(internal + "/vmauth/status")
    check("without scripts: users are there", "alice" in browser.text_of("#users"), browser.text_of("body"))
    check("without scripts: a backend that is down for one route", "127.0.0.1:9 partly" in browser.text_of("#backends").replace("\t", " "),
          browser.text_of("#backends"))
    check("without scripts: the failure is named", "connection refused" in browser.text_of("#backends"))
    check("names are text", "<script>alert(1)</script>" in browser.text_of("#users"))
    check("without scripts the page is not live", browser.text_of("#live") == "", browser.text_of("#live"))
    browser.scripts(True)
    browser.open(internal + "/vmauth/status")
    wait_for("live page", lambda: browser.text_of("#live") == "live", PATIENCE)
    check("style passes a strict content policy",
          browser.run("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse")
    requests = "[...document.querySelectorAll('#users tr')].map(r => r.children).find(c => c[0].innerText == 'alice')[3].innerText"
    before = int(browser.run(requests))
    browser.run("document.querySelector('#users details').open = true")
    with_credentials(public + "/ui")
    wait_for("grown counter", lambda: int(browser.run(requests)) == before + 1, PATIENCE)
    check("with scripts: the page is live", True)
    check("what was open stays open", browser.run("document.querySelector('#users details').open"))
    if pictures:
        browser.screenshot(pictures / "status.png")


def token_page(browser, internal, pictures):
    token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEwMDB9.c2ln"
    browser.open(internal + "/vmauth/status")
    browser.run(f"document.querySelector('textarea').value = '{token}'")
    browser.run("document.querySelector('form[action^=status-token] button').click()")
    wait_for("verdict", lambda: browser.text_of("#verdict"), PATIENCE)
    check("a pasted token gets its verdict", browser.text_of("#verdict") == "refused", browser.text_of("body"))
    check("and its steps", "no user of the config has `jwt`" in browser.text_of("#steps"), browser.text_of("#steps"))
    check("the token is in no address", token not in browser.run("location.href"))
    if pictures:
        browser.screenshot(pictures / "token.png")
    browser.run("history.back()")
    browser.open(internal + "/vmauth/status-config")
    config = browser.text_of("#config")
    check("the effective config is masked", "password: ***" in config and "hunter2" not in config, config)
    if pictures:
        browser.screenshot(pictures / "config.png")


def ui_errors(browser, public, pictures):
    """Reads replies as vmui does: POST, `Accept: */*`, `json()` before the status."""
    browser.call("Network.enable")
    basic = "Basic " + base64.b64encode(b"alice:hunter2").decode()
    browser.call("Network.setExtraHTTPHeaders", headers={"Authorization": basic})
    browser.open(public + "/ui")

    def fetch(path, credentials="same-origin"):
        return browser.run(
            "fetch(%s, {method: 'POST', headers: {Accept: '*/*'}, credentials: %s, body: new URLSearchParams({query: 'up'})})"
            ".then(async r => ({body: await r.json(), status: r.status, type: r.headers.get('Content-Type')}))" % (json.dumps(path), json.dumps(credentials)))

    for path, status in (("/api/v1/admin/x", 403), ("/api/v1/dead", 502), ("/api/v1/nowhere", 400)):
        reply = fetch(path)
        body = reply["body"]
        check(f"{path}: JSON that UIs can show",
              reply["status"] == status and body.get("status") == "error" and body.get("errorType") and body.get("error"), reply)
    browser.call("Network.setExtraHTTPHeaders", headers={})
    # A browser that may ask for credentials does so, and waits for a person.
    reply = fetch("/api/v1/query", "omit")
    check("missing credentials: JSON, too", reply["status"] == 401 and "Authorization" in reply["body"]["error"], reply)


def main():
    binary = os.path.abspath(sys.argv[1])
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    folder = Path(tempfile.mkdtemp(prefix="vmauth-pages-"))
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    process, (public, internal) = start(binary, folder, backend.server_address[1])
    browser = None
    try:
        browser = Page()
        state_page(browser, public, internal, pictures)
        token_page(browser, internal, pictures)
        ui_errors(browser, public, pictures)
    except Exception as error:  # a lost browser or page is a failed check like others
        check("the run", False, repr(error))
        print((folder / "log").read_text()[-3000:])
    finally:
        if browser:
            browser.close()
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(summary())


if __name__ == "__main__":
    main()
