"""A remote write receiver that may be away, and the agent under test; both at free ports of 127.0.0.1."""

import http.client
import re
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "agent-conformance")]

from blackbox.ports import free_port  # noqa: E402
from blackbox.stalls import Stalls  # noqa: E402, F401
from kit.protobuf import DecodeError, unsnappy, write_request  # noqa: E402


def line(number):
    """A sample that proves itself: its value and its check belong to its number."""
    return f'seq{{n="{number}",check="{zlib.crc32(b"%d" % number)}"}} {number % 1000}\n'


class Receiver(ThreadingHTTPServer):
    """Counts the samples of each number; `away` makes it answer 503."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/api/v1/write"
        self.away, self.lock, self.seen, self.broken = False, threading.Lock(), {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Senders that are killed are what this is for."""

    def take(self, body):
        try:
            samples = write_request(unsnappy(body)).samples
        except (DecodeError, IndexError, ValueError) as error:
            self.broken.append(f"a block of {len(body)} bytes: {error}")
            return
        with self.lock:
            for sample in samples:
                labels = dict(sample.labels)
                number = int(labels["n"]) if labels.get("n", "").isdigit() else -1
                if labels != {"__name__": "seq", "n": str(number), "check": str(zlib.crc32(b"%d" % number))} or sample.value != number % 1000:
                    self.broken.append(f"a sample {labels} {sample.value}")
                self.seen[number] = self.seen.get(number, 0) + 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_away = self.server.away
        if not is_away:
            self.server.take(body)
        self.send_response(503 if is_away else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Agent:
    """A running agent; its log goes to a file."""

    def __init__(self, binary, url, data, log, *flags):
        self.log = log
        for last in (False, False, True):
            self.port = free_port()
            if self.start(binary, url, data, flags, last):
                return

    def start(self, binary, url, data, flags, is_last_try):
        """Whether it listens; not when somebody has taken the port meanwhile."""
        before = Path(self.log).stat().st_size if Path(self.log).exists() else 0
        args = [
            f"-httpListenAddr=127.0.0.1:{self.port}", f"-remoteWrite.url={url}", f"-remoteWrite.tmpDataPath={data}",
            "-remoteWrite.forcePromProto", "-remoteWrite.flushInterval=200ms", "-remoteWrite.retryMinInterval=50ms",
            "-remoteWrite.retryMaxInterval=200ms", "-loggerMaxArgLen=1000", *flags,
        ]  # fmt: skip
        with open(self.log, "a") as out:
            self.process = subprocess.Popen([binary, *args], stdout=out, stderr=out)
        deadline = time.monotonic() + 120
        while True:
            if self.process.poll() is not None:
                said = Path(self.log).read_text()[before:]
                if "address already in use" in said and not is_last_try:
                    return False
                raise SystemExit(f"the agent does not start:\n{said[-3000:]}")
            try:
                self.get("/health")
                return True
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """The sum of all series of a name."""
        page = self.get("/metrics")
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.M))

    def is_idle(self):
        return not self.metric("vmagent_remotewrite_pending_data_bytes") and not self.metric("vmagent_remotewrite_pending_inmemory_blocks")

    def stop(self):
        """Ends it in order; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


class Checks:
    """Passed and failed checks, printed as they come."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, is_good, why=""):
        self.passed, self.failed = self.passed + bool(is_good), self.failed + (not is_good)
        print(f"{'ok  ' if is_good else 'FAIL'} {name}{'' if is_good else f': {why}'}", flush=True)


def wait(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
