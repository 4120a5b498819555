"""A headless Chromium, driven through the pipe of its DevTools protocol: no driver and no further package is needed."""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path


class BrowserError(Exception):
    """The browser says no, or nothing."""


class Browser:
    """One tab. What goes wrong in pages (errors, refused requests, other origins) is collected in `complaints`."""

    def __init__(self, width=1400, height=900):
        binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if binary is None:
            raise BrowserError("no chromium: install the package chromium")
        self.profile = tempfile.mkdtemp(prefix="browser-")
        to_browser, self.write = os.pipe()
        self.read, from_browser = os.pipe()
        command = [
            binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars", f"--window-size={width},{height}",
            "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "about:blank",
        ]  # fmt: skip
        shell = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *command]
        self.process = subprocess.Popen(
            shell, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": self.profile}, start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        os.set_blocking(self.read, False)
        self.buffer, self.last, self.session, self.complaints, self.requests = b"", 0, None, [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method, limit=120, **params):
        """One command and its result."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + limit
        while time.monotonic() < end:
            reply = self.next_message()
            if reply and reply.get("id") == self.last:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error']}")
                return reply["result"]
        raise BrowserError(f"{method}: no answer within {limit} s")

    def next_message(self):
        if b"\0" not in self.buffer:
            try:
                piece = os.read(self.read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                return None
            if not piece:
                raise BrowserError(f"the browser has ended with {self.process.wait()}")
            self.buffer += piece
            return None
        message, _, self.buffer = self.buffer.partition(b"\0")
        event = json.loads(message)
        self.note(event.get("method"), event.get("params", {}))
        return event

    def note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(f"exception: {details.get('exception', {}).get('description') or details.get('text')}")
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error" and "favicon" not in params["entry"].get("url", ""):
            self.complaints.append(f"error: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def run(self, script):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script, limit=60):
        """The first true value of an expression, or the last one after the limit. Pages that are just being replaced count as not yet."""
        end = time.monotonic() + limit
        while True:
            try:
                value = self.run(script)
            except BrowserError:
                value = None
            if value or time.monotonic() > end:
                return value
            time.sleep(0.05)

    def open(self, url):
        self.call("Page.navigate", url=url)
        path = json.dumps(url.partition("?")[0])
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({path})")

    def text(self):
        return self.run("document.body.innerText")

    def leave(self, script):
        """Runs what leads to another page, and waits for that."""
        self.run(f"window.leaving = 1; {script}; 1")
        if not self.wait("window.leaving === undefined && document.readyState === 'complete'"):
            raise BrowserError(f"{script} leads nowhere")

    def click(self, text, nth=0):
        """Follows the link or button with this text."""
        found = f"[...document.querySelectorAll('a, button')].filter(e => e.textContent.trim() === {json.dumps(text)})[{nth}]"
        self.leave(f"{found}.click()")

    def fill(self, name, value):
        self.run(f"document.querySelector('[name={name}]').value = {json.dumps(value)}; 1")

    def screenshot(self, path):
        """The whole page, however long it is, up to 4,000 pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        # Its helpers write into the profile until they have ended, too.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + 20
        while os.path.exists(self.profile) and time.monotonic() < end:
            shutil.rmtree(self.profile, ignore_errors=True)
            time.sleep(0.02)
