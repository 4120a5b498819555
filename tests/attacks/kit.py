"""What the attacks share: results, a process of vmauth, a backend that says ok, and a name server that says what a case wants.

Everything happens in namespaces of its own (see run.py), so fixed ports and addresses and the files of /etc belong to the case alone.
"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.report import check, note, summary, wait_for  # noqa: E402, F401

BACKEND_PORT, PORT = 18080, 18427
REQUEST = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Backend:
    """Answers 200 `ok` to every request; counts connections."""

    def __init__(self, port=BACKEND_PORT, host="127.0.0.1"):
        self.connections = 0
        self.listener = socket.create_server((host, port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            head = b""
            while True:
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    head += piece
                head = head.partition(b"\r\n\r\n")[2]
                self.answer(connection)

    def answer(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Vmauth:
    """vmauth with this config; use it in a `with`."""

    binary = None

    def __init__(self, config, *flags, port=PORT):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        (path / "auth.yml").write_text(config)
        self.log_path = path / "log"
        listen = [] if any(flag.startswith("-httpListenAddr=") for flag in flags) else [f"-httpListenAddr=127.0.0.1:{port}"]
        command = [self.binary, f"-auth.config={path}/auth.yml", "-workers=1", *listen, *flags]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while "started server at" not in self.log() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def troubles(self):
        return " | ".join(re.findall(r"\t(?:warn|error|fatal)\t\S+\t(.*)", self.log())[-2:])[:400]


def exchange(data, address=("127.0.0.1", PORT), patience=30):
    """All that comes back."""
    received = b""
    try:
        with socket.create_connection(address, patience) as client:
            client.sendall(data)
            while piece := client.recv(65536):
                received += piece
    except OSError as error:
        received += f"<{error}>".encode()
    return received


def status(reply):
    found = re.match(rb"HTTP/1\.\d (\d+)", reply)
    return int(found[1]) if found else None


# ---------------------------------------------------------------- names

A, CNAME, AAAA, SRV = 1, 5, 28, 33
NXDOMAIN, SERVFAIL = 3, 2


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def record(name, kind, data, ttl=30):
    return wire_name(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def a(name, address, ttl=30):
    return record(name, A, socket.inet_aton(address), ttl)


def srv(name, port, target):
    return record(name, SRV, struct.pack("!HHH", 0, 0, port) + wire_name(target))


def cname(name, target):
    return record(name, CNAME, wire_name(target))


class NameServer:
    """Answers by `answer(name, kind)`: a list of records, a response code, or None for silence; remembers what was asked."""

    def __init__(self, address, answer):
        self.answer, self.asked = answer, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            query, peer = self.socket.recvfrom(4096)
            threading.Thread(target=self.one, args=(query, peer), daemon=True).start()

    def one(self, query, peer):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("latin1"))
            at += query[at] + 1
        name, kind = ".".join(labels).lower(), struct.unpack("!H", query[at + 1 : at + 3])[0]
        self.asked.append((name, kind))
        found = self.answer(name, kind)
        if found is None:
            return
        code, records = (found, []) if isinstance(found, int) else (0, found)
        soa = [] if records else [record("", 6, wire_name("ns.x") + wire_name("h.x") + struct.pack("!IIIII", 1, 2, 3, 4, 5))]
        header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), len(soa), 0)
        self.socket.sendto(header + query[12 : at + 5] + b"".join(records) + b"".join(soa), peer)


def knows(host, address="127.0.0.1", delay=0.0):
    """An answer function of a server that knows one name."""
    def answer(name, kind):
        time.sleep(delay)
        if name != host:
            return NXDOMAIN
        return [a(name, address)] if kind == A else []
    return answer


_mounted = {}
_files = tempfile.TemporaryDirectory(prefix="attacks-etc-")


def etc(name, text):
    """Puts a text over a file of /etc, in this mount namespace."""
    if name not in _mounted:
        _mounted[name] = str(Path(_files.name) / name)
        Path(_mounted[name]).touch()
        subprocess.run(["mount", "--bind", _mounted[name], f"/etc/{name}"], check=True)
    Path(_mounted[name]).write_text(text)


def command(*words):
    subprocess.run(words, check=True, capture_output=True)


def environment():
    """Loopback with two more addresses for name servers."""
    command("ip", "link", "set", "lo", "up")
    for address in ("10.9.0.1/24", "10.9.0.2/24"):
        command("ip", "address", "add", address, "dev", "lo")
    etc("hosts", "127.0.0.1 localhost\n")
    os.environ.pop("RES_OPTIONS", None)
