"""What the checks of HTTP/2 share: a proxy under test, a backend, raw frames, and the count of checks."""

import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hpack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.ports import free_port  # noqa: E402, F401
from blackbox.product import Product  # noqa: E402
from blackbox.report import check, note, run_parts, summary, wait_for  # noqa: E402, F401

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 0x1, 0xB
TICKS = os.sysconf("SC_CLK_TCK")


class Backend(BaseHTTPRequestHandler):
    """/echo: the body and the headers again; /large: a megabyte; /words: some; /never: no answer; /sink: the body is not
    read; /trailers: a body and its trailers; else `ok`."""

    protocol_version = "HTTP/1.1"

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.trailers = []
            while line := self.rfile.readline().strip():
                self.trailers.append(line.decode())
            return body
        self.trailers = []
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        path = self.path.partition("?")[0]
        if path in ("/never", "/sink"):
            if path == "/never":
                self.read_body()
            self.server.stuck.wait(60)
            self.close_connection = True
            return
        body = self.read_body()
        if self.headers.get("Upgrade") == "websocket":
            return self.websocket()
        if path == "/trailers":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Trailer", "x-sum")
            self.end_headers()
            self.wfile.write(b"4\r\nbody\r\n0\r\nx-sum: %d\r\n\r\n" % len(body))
            return
        reply = body if path == "/echo" else b"x" * (1 << 20) if path == "/large" else b"a few words" if path == "/words" else b"ok"
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.send_header("X-Seen", "|".join(f"{name}: {value}" for name, value in self.headers.items()))
        if self.trailers:
            self.send_header("X-Trailers", "|".join(self.trailers))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def websocket(self):
        import base64
        import hashlib
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        while piece := self.connection.recv(65536):
            self.wfile.write(piece)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Backend)
        self.stuck = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass


def wait_open(port, patience=60):
    """Until something listens there."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Proxy:
    """One vmauth in front of a backend of its own, or of `backend`: one plain listener with `-http2.h2c`, one with TLS."""

    binary = None

    def __init__(self, *flags, backend=None):
        self.backend = Server()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        (path / "auth.yml").write_text(
            "unauthorized_user:\n"
            f"  url_prefix: {backend or f'http://127.0.0.1:{self.backend.server_port}/'}\n"
            "  max_concurrent_requests: 2000\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path / "key.pem", "-out", path / "cert.pem",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, capture_output=True)
        self.plain, self.tls = free_port(), free_port()
        self.product = Product(self.binary, [
            "-auth.config=auth.yml", f"-httpListenAddr=127.0.0.1:{self.plain}", f"-httpListenAddr=127.0.0.1:{self.tls}", "-tls=false,true",
            "-tlsCertFile=,cert.pem", "-tlsKeyFile=,key.pem", "-http2.h2c", "-workers=1", "-maxConcurrentRequests=2000", *flags], {}, path)
        self.product.wait_listening([f"127.0.0.1:{self.plain}", f"127.0.0.1:{self.tls}"])
        self.pid = self.product.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.backend.stuck.set()
        self.product.stop()
        self.backend.shutdown()
        self.folder.cleanup()

    def memory(self):
        """Resident bytes."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024

    def cpu(self):
        """Seconds of user and system time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def integer(value, bits, first=0):
    """An HPACK integer (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    out.append(value)
    return bytes(out)


def literal(name, value, first=0x00):
    """A literal field; `first` 0x40 puts it into the table."""
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


def head(path=b"/", method=b"GET", fields=()):
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"front"), (b":path", path)]
    return b"".join(literal(name, value) for name, value in [*pseudo, *fields])


class Raw:
    """A connection whose frames are written by hand."""

    def __init__(self, port, settings=()):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.fields = hpack.Decoder()
        payload = b"".join(struct.pack(">HI", name, value) for name, value in settings)
        self.socket.sendall(PREFACE + frame(SETTINGS, payload=payload))

    def send(self, data):
        """False when the connection is gone."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def request(self, stream, path=b"/", **more):
        return frame(HEADERS, END_STREAM | END_HEADERS, stream, head(path, **more))

    def next_frame(self, timeout=30):
        """Kind, flags, stream and payload; None at the end of the connection."""
        self.socket.settimeout(timeout)
        while True:
            if len(self.received) >= 9:
                size = int.from_bytes(self.received[:3], "big")
                if len(self.received) >= 9 + size:
                    kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
                    payload, self.received = self.received[9:9 + size], self.received[9 + size:]
                    return kind, flags, stream, payload
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.received += data

    def frames_until(self, kind, stream=None, timeout=30):
        """All frames up to the first of this kind; the last is None at the end of the connection."""
        frames, until = [], time.monotonic() + timeout
        while True:
            found = self.next_frame(max(until - time.monotonic(), 0.01))
            frames.append(found)
            if found is None or found[0] == kind and stream in (None, found[2]):
                return frames

    def status(self, stream):
        """The status of the next reply on this stream; None at the end of the connection. Asked for each reply, in order."""
        found = self.frames_until(HEADERS, stream)[-1]
        return found and dict(self.fields.decode(found[3])).get(":status")

    def ending(self, timeout=30):
        """How the connection ends: the code of GOAWAY, `closed`, or `open`."""
        code = None
        try:
            while found := self.next_frame(timeout):
                if found[0] == GOAWAY:
                    code = int.from_bytes(found[3][4:8], "big")
        except TimeoutError:
            return "open" if code is None else code
        return "closed" if code is None else code

    def close(self):
        self.socket.close()
