#!/usr/bin/env python3
"""Opens the pages of a vmagent in headless Chromium, and uses them as people do: run.py VMAGENT

Targets that are up, down and dropped, one with labels and samples that look like HTML; searches, links to a target's reply, both relabel debuggers with
their forms, the config, all of it with and without `-http.pathPrefix`. A page must work without scripts from elsewhere, run nothing that a target
says, and fit into the window. Ends with `N passed, N failed`.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.browser import Browser  # noqa: E402
from blackbox.ports import free_port  # noqa: E402
from blackbox.report import check, summary  # noqa: E402

EVIL = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
PAGE = f'# HELP m {EVIL}\nm{{a="1",evil="{EVIL}"}} 1\nother 2\n'


class Target(BaseHTTPRequestHandler):
    def do_GET(self):
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


class Agent:
    def __init__(self, binary, folder, up, down, prefix):
        self.port, self.prefix = free_port(), prefix
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        config = folder / "scrape.yml"
        config.write_text(f"""
global: {{scrape_interval: 5s}}
scrape_configs:
- job_name: good
  static_configs: [{{targets: ["{up}"], labels: {{evil: "{EVIL}"}}}}]
  basic_auth: {{username: u, password: SECRET1}}
  metric_relabel_configs: [{{action: drop, source_labels: [__name__], regex: other}}]
- job_name: bad
  static_configs: [{{targets: ["{down}"]}}]
- job_name: partly dropped
  static_configs: [{{targets: ["{up}", "127.0.0.1:1"]}}]
  relabel_configs:
  - {{action: drop, source_labels: [__address__], regex: ".*:1"}}
  - {{target_label: team, replacement: blue}}
""")
        args = [
            f"-httpListenAddr=127.0.0.1:{self.port}", f"-promscrape.config={config}", "-remoteWrite.url=http://127.0.0.1:1/w",
            f"-remoteWrite.tmpDataPath={folder / 'data'}", f"-http.pathPrefix={prefix}",
        ]  # fmt: skip
        self.log = folder / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([binary, *args], stdout=log, stderr=log)
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                if get(self.port, f"{prefix}/api/v1/targets").count('"health":"up"') == 2 and "refused" in get(self.port, f"{prefix}/targets"):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"the agent does not scrape:\n{self.log.read_text()[-3000:]}")

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)


def targets_page(browser, agent):
    browser.open(f"{agent.url}/targets")
    text = browser.text()
    check("/targets has its title", browser.run("document.title") == "Active Targets")
    check("jobs with their counts", all(part in text for part in ("good (1/1 up)", "bad (0/1 up)", "partly dropped (1/1 up)")), text)
    check("states and errors", "UP" in text and "DOWN" in text and "refused" in text, text)
    check("text of a target stays text", EVIL in text and browser.run("window.hacked") is None, text)
    check("the page fits into the window", browser.run("document.documentElement.scrollWidth <= window.innerWidth"))
    check("original labels are folded away", browser.run("[...document.querySelectorAll('td details')].every(e => !e.open)"))
    browser.click("Unhealthy")
    text = browser.text()
    check("unhealthy targets only", "bad (0/1 up)" in text and "good (" not in text, text)
    browser.fill("label_search", '{job="good"}')
    browser.click("Filter targets")
    check("a search keeps to unhealthy ones", "No target fits" in browser.text(), browser.text())
    browser.click("All")
    text = browser.text()
    check("all states of what was searched for", "good (1/1 up)" in text and "bad (" not in text, text)
    check("the search stays in its field", browser.run("document.querySelector('[name=label_search]').value") == '{job="good"}')
    browser.fill("label_search", "{broken")
    browser.click("Filter targets")
    check("a wrong search is answered", "broken" in browser.run("document.documentElement.innerText"), browser.text())
    browser.open(f"{agent.url}/targets")
    browser.click("response")
    check("the reply of a target, as text", EVIL in browser.text() and browser.run("window.hacked") is None, browser.text())


def discovery_page(browser, agent):
    browser.open(f"{agent.url}/targets")
    browser.click("Service discovery")
    text = browser.text()
    check("/service-discovery has its title", browser.run("document.title") == "Discovered Targets")
    check("dropped targets with the reason", "DROPPED (relabeling)" in text and "partly dropped (1/2 active)" in text, text)
    check("discovered labels", "__address__" in text and 'team="blue"' in text, text)
    check("it fits into the window", browser.run("document.documentElement.scrollWidth <= window.innerWidth"))


def debug_pages(browser, agent):
    browser.open(f"{agent.url}/targets?label_search=%7Bteam%3D%22blue%22%7D")
    browser.click("target")
    text = browser.text()
    check("the debugger of targets has the rules", "team" in browser.run("document.querySelector('[name=relabel_configs]').value"), text)
    check("and shows each step", "blue" in text and "__address__" in text, text)
    browser.fill("relabel_configs", "- {target_label: team, replacement: green}\n- {action: labeldrop, regex: job}\n")
    browser.leave("document.querySelector('form').submit()")
    text = browser.text()
    check("other rules are tried", "green" in text, text)
    browser.fill("relabel_configs", "- {action: nonsense}\n")
    browser.leave("document.querySelector('form').submit()")
    check("wrong rules are named", "nonsense" in browser.text(), browser.text())
    browser.open(f"{agent.url}/targets?label_search=%7Bjob%3D%22good%22%7D")
    browser.click("metrics")
    check("the debugger of metrics has the rules of the job", "drop" in browser.run("document.querySelector('[name=relabel_configs]').value"))
    browser.fill("metric", 'other{x="1"}')
    browser.leave("document.querySelector('form').submit()")
    check("a dropped series", "dropped" in browser.text().lower() or "{}" in browser.text(), browser.text())
    browser.fill("metric", f'm{{x="{EVIL}"}}')
    browser.leave("document.querySelector('form').submit()")
    check("series stay text", browser.run("window.hacked") is None and EVIL in browser.text(), browser.text())


def other_pages(browser, agent):
    browser.open(f"{agent.url}/config")
    text = browser.text()
    check("/config shows the file without secrets", "job_name: good" in text and "SECRET1" not in text, text)
    browser.open(f"{agent.url}/")
    links = browser.run("[...document.querySelectorAll('a')].map(e => e.href)")
    check("all links of the index lead below the prefix", links and all(link.startswith(agent.url + "/") for link in links if "127.0.0.1" in link), links)
    for link in links:
        if link.startswith(agent.url):
            path = link.removeprefix(f"http://127.0.0.1:{agent.port}")
            connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
            connection.request("GET", path)
            status = connection.getresponse().status
            check(f"{path.removeprefix(agent.prefix)} is there", status == 200, status)


def main():
    binary = str(Path(sys.argv[1]).resolve())
    target = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    up = f"127.0.0.1:{target.server_port}"
    with tempfile.TemporaryDirectory(prefix="agent-pages-") as folder, socket.socket() as down:
        down.bind(("127.0.0.1", 0))
        browser = Browser()
        try:
            for prefix in ("", "/below/it"):
                place = Path(folder) / (prefix.strip("/").replace("/", "-") or "root")
                place.mkdir()
                agent = Agent(binary, place, up, f"127.0.0.1:{down.getsockname()[1]}", prefix)
                for part in (targets_page, discovery_page, debug_pages, other_pages):
                    part(browser, agent)
                foreign = [url for url in browser.requests if not url.startswith((agent.url, f"http://127.0.0.1:{agent.port}/favicon", "about:", "data:"))]
                check(f"nothing is loaded from elsewhere, with the prefix {prefix!r}", not foreign, foreign[:5])
                browser.requests.clear()
                check("the agent ends in order", agent.stop() == 0)
            wrong = [complaint for complaint in browser.complaints if "400" not in complaint]
            check("the browser has nothing to complain of", not wrong, wrong[:5])
        finally:
            browser.close()
    return summary()


if __name__ == "__main__":
    sys.exit(main())
