#!/usr/bin/env python3
"""Time and memory of configs: start and reload of ten thousand users, and memory over a thousand reloads under traffic.

usage: bench/start_and_reload.py target/release/vmauth

Figures, not checks: they go to RESULTS.md. Needs Linux and Python 3.11; opens only loopback ports that the system picks.
"""
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

USERS = 10_000
RELOADS = 1_000


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # In one write: two small ones would wait for an acknowledgement.
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def log_message(self, *args):
        pass


class Proxy:
    """A running vmauth and its log."""

    def __init__(self, binary, folder, config):
        self.config = os.path.join(folder, "auth.yml")
        with open(self.config, "w") as file:
            file.write(config)
        self.lines = []
        self.changed = threading.Condition()
        started = time.monotonic()
        args = [binary, f"-auth.config={self.config}", "-httpListenAddr=127.0.0.1:0"]
        self.process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        self.wait("started vmauth in", 1)
        self.start_seconds = time.monotonic() - started
        self.port = int(re.search(r"started server at http://127\.0\.0\.1:(\d+)/", "".join(self.lines)).group(1))

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()

    def count(self, text):
        return sum(text in line for line in self.lines)

    def wait(self, text, count):
        with self.changed:
            if not self.changed.wait_for(lambda: self.count(text) >= count, 30):
                raise SystemExit(f"no {text!r} in the log:\n" + "".join(self.lines[-20:]))

    def reload(self, config):
        """Seconds from the signal to the line that says that the config is loaded."""
        loaded = self.count("loaded information about")
        with open(self.config, "w") as file:
            file.write(config)
        started = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        self.wait("loaded information about", loaded + 1)
        return time.monotonic() - started

    def rss(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(field + r":\s+(\d+)", file.read()).group(1)) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def many_users(port, path):
    users = (f"- username: u{n}\n  password: p{n}\n  url_prefix: http://127.0.0.1:{port}/{path}\n" for n in range(USERS))
    return "users:\n" + "".join(users)


def traffic(port, stop, counts):
    while not stop.is_set():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for _ in range(100):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dTA6cDA=\r\n\r\n")
                counts["bad"] += not connection.recv(4096).startswith(b"HTTP/1.1 200")
                counts["all"] += 1


def main():
    binary = os.path.abspath(sys.argv[1])
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    port = backend.server_address[1]
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(binary, folder, many_users(port, "a"))
        print(f"start with {USERS} users: {proxy.start_seconds:.3f} s")
        times = [proxy.reload(many_users(port, name)) for name in "bcdef"]
        print(f"reload of {USERS} users: {min(times):.3f} s best, {max(times):.3f} s worst of {len(times)}")
        print(f"peak RSS of {USERS} users: {proxy.rss('VmHWM'):.1f} MiB after {len(times)} reloads")
        proxy.stop()

        small = [f"users:\n- username: u0\n  password: p0\n  url_prefix: http://127.0.0.1:{port}/{n}\n" for n in (1, 2)]
        proxy = Proxy(binary, folder, small[0])
        stop, counts = threading.Event(), {"all": 0, "bad": 0}
        client = threading.Thread(target=traffic, args=(proxy.port, stop, counts))
        client.start()
        sizes = {}
        for n in range(1, RELOADS + 1):
            proxy.reload(small[n % 2])
            if n in (100, 200, 500, RELOADS):
                sizes[n] = proxy.rss()
        stop.set()
        client.join()
        shown = ", ".join(f"{size:.1f} MiB after {n}" for n, size in sizes.items())
        print(f"RSS over {RELOADS} reloads under traffic: {shown}; {counts['all']} requests, {counts['bad']} failed")
        print(f"open files: {len(os.listdir(f'/proc/{proxy.process.pid}/fd'))}")
        proxy.stop()


main()
