"""What the checks share: results, processes, a client, a stub store, and the servers under test.

Everything listens on 127.0.0.1 and on ports that were free a moment ago. Waiting is polling with a deadline.
"""

import base64
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from blackbox.ports import free_port  # noqa: E402, F401
from blackbox.report import check, note, run_parts, summary, wait_for  # noqa: E402, F401

PATIENCE = 60.0

_lock = threading.Lock()
_processes = []
_folders = []


# ---------------------------------------------------------------- processes and places

def folder(name):
    """A new folder that goes away with the run."""
    with _lock:
        if not _folders:
            _folders.append(tempfile.mkdtemp(prefix="vmauth-real-"))
    return Path(tempfile.mkdtemp(prefix=name + "-", dir=_folders[0]))


class Process:
    """A started program with its output in a file. `group`: it starts others, which signals shall reach, too."""

    group = False

    def __init__(self, name, *command, environment=None):
        self.name = name
        self.log_path = folder(name) / "log"
        with open(self.log_path, "wb") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=self.group, env={**os.environ, **(environment or {})},
            )
        _processes.append(self)

    def signal(self, number):
        (os.killpg if self.group else os.kill)(self.child.pid, number)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern, patience=PATIENCE):
        """The first match of the pattern in the log."""
        def look():
            found = re.search(pattern, self.log())
            if not found and self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{self.log()}")
            return found
        try:
            return wait_for(f"{pattern!r} in the log of {self.name}", look, patience)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.log()[-3000:]}") from None

    def stop(self, patience=60):
        """Ends the program; SIGKILL if it does not heed SIGTERM."""
        if self.child.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait()


def clean_up():
    for process in _processes:
        if process.child.poll() is None:
            process.kill()
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def leave_cleanly_on_signals():
    def leave(number, _frame):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)


# ---------------------------------------------------------------- client and stub store

class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)


def request(method, url, headers=None, body=None, patience=PATIENCE):
    """One exchange on a connection of its own."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=patience)
    try:
        target = parts.path or "/"
        connection.request(method, target + ("?" + parts.query if parts.query else ""), body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token):
    return {"Authorization": "Bearer " + token}


class Store:
    """A backend that keeps what it got and answers 204; `status` and `hold` change that."""

    def __init__(self):
        self.requests = []
        self.status = 204
        self.hold = threading.Event()
        self.hold.set()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                store.requests.append((self.path, self.headers, body))
                store.hold.wait(PATIENCE)
                self.send_response(store.status)
                if store.status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def paths(self):
        return [path for path, _, _ in self.requests]


# ---------------------------------------------------------------- servers under test

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def parse_page(text):
    """Samples of a metrics page as (name, labels, value)."""
    samples = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            found = SAMPLE.match(line)
            if not found:
                raise ValueError(f"not a sample: {line!r}")
            name, labels, value = found.groups()
            samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
    return samples


class Vmauth(Process):
    """vmauth with a configuration file; one worker, so that a token is looked up in one cache."""

    binary = None

    def __init__(self, config, *flags):
        self.config_path = folder("config") / "auth.yml"
        self.config_path.write_text(config)
        super().__init__(
            "vmauth", self.binary, f"-auth.config={self.config_path}", "-httpListenAddr=127.0.0.1:0", "-workers=1", *flags
        )
        self.url = self.wait_log(r"started server at (http://127\.0\.0\.1:\d+)/").group(1)

    def page(self):
        return request("GET", self.url + "/metrics").text()

    def metric(self, name, **labels):
        """The sum of the samples that have these labels; `None` if there are none."""
        found = [value for other, have, value in parse_page(self.page())
                 if other == name and all(have.get(label) == value for label, value in labels.items())]
        return sum(found) if found else None

    def wait_metric(self, wanted, name, **labels):
        """Whether the metric comes to have this value; the page may be a second old."""
        try:
            wait_for(name, lambda: self.metric(name, **labels) == wanted)
            return True
        except TimeoutError:
            return False

    def reload(self, config):
        """Replaces the file and waits until it is in force."""
        # The page may be a second old, but the counter only grows with reloads.
        before = self.log().count("loaded information about")
        self.config_path.write_text(config)
        self.child.send_signal(signal.SIGHUP)
        wait_for("reload", lambda: self.log().count("loaded information about") > before)

    def write(self, token, path="/insert/api/v1/write", body=b"samples"):
        return request("POST", self.url + path, bearer(token), body)


class Provider(Process):
    """npm oidc-provider; the same `keys_dir` gives the same keys."""

    def __init__(self, clients, keys=("a",), port=None, keys_dir=None, max_age=None):
        self.clients, self.max_age = clients, max_age
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys_dir = keys_dir or folder("keys")
        settings = {"port": self.port, "keys_dir": str(self.keys_dir), "keys": keys, "clients": clients}
        if max_age is not None:
            settings["max_age"] = max_age
        path = folder("provider") / "settings.json"
        path.write_text(json.dumps(settings))
        super().__init__("provider", "node", HERE / "provider" / "provider.mjs", path)
        self.wait_log(r"(?m)^ready$")

    def again(self, keys=("a",)):
        """The provider once more, after it has ended."""
        return Provider(self.clients, keys, self.port, self.keys_dir, self.max_age)

    def publish(self, *keys):
        """Rotates to these keys; the first signs."""
        reply = request("PUT", self.url + "/test/keys", {}, json.dumps(keys))
        if reply.status != 204:
            raise RuntimeError(f"cannot rotate keys: {reply.status} {reply.text()}")

    def token(self, client, **form):
        """A new access token of the client."""
        body = urllib.parse.urlencode({"grant_type": "client_credentials", **form})
        headers = basic(client, self.clients[client]["secret"])
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        reply = request("POST", self.url + "/token", headers, body)
        if reply.status != 200:
            raise RuntimeError(f"no token: {reply.status} {reply.text()}")
        return reply.json()["access_token"]


def token_part(token, index):
    """Header (0) or claims (1) of a token."""
    part = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
