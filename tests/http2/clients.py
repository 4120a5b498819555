"""Peers of other implementations: h2spec, curl, Python's h2, Node's http2 on both sides, Java's HttpClient."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import h2.config
import h2.connection
import h2.events

import kit
from kit import Proxy, check

HERE = Path(__file__).resolve().parent
# On a plain port that serves both protocols, what is no preface is a request of HTTP/1, and answered as one.
BOTH_PROTOCOLS = "3.5. HTTP/2 Connection Preface"


def h2spec(binary):
    """Every case of h2spec, on a listener that speaks HTTP/2 alone after its handshake, and on one that speaks both protocols."""
    with Proxy() as proxy:
        for name, port, more, want in (("tls", proxy.tls, ["-t", "-k"], 145), ("h2c", proxy.plain, [], 144)):
            run = subprocess.run([binary, "-h", "127.0.0.1", "-p", str(port), "-P", "/words", "-o", "20", *more], capture_output=True, text=True, timeout=300)
            total = re.search(r"(\d+) tests, (\d+) passed", run.stdout)
            failures = run.stdout.partition("Failures:")[2]
            passed = total and (int(total[1]), int(total[2])) == (145, want) and (want == 145 or BOTH_PROTOCOLS in failures)
            check(f"h2spec.{name}", passed, run.stdout[-2000:])
            kit.note(f"h2spec {name}: {total and total[0]}")


def curl():
    def run(*args, data=None):
        command = ["curl", "-sS", "-k", "-o", "-", "-w", "\n%{http_version} %{response_code} %{size_upload}", *args]
        done = subprocess.run(command, input=data, capture_output=True, timeout=120)
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")

    with Proxy() as proxy:
        plain, tls = f"http://127.0.0.1:{proxy.plain}", f"https://127.0.0.1:{proxy.tls}"
        f = lambda name, want, *args, data=None: check(f"curl.{name}", (got := run(*args, data=data)) == want, got[-300:])
        f("alpn", "ok\n2 200 0", "--http2", f"{tls}/")
        f("prior_knowledge", "ok\n2 200 0", "--http2-prior-knowledge", f"{plain}/")
        f("upgrade_is_not_followed", "ok\n1.1 200 0", "--http2", f"{plain}/")
        f("http1", "ok\n1.1 200 0", "--http1.1", f"{plain}/")
        f("post", "a=b\n2 200 3", "--http2", f"{tls}/echo", "-d", "a=b")
        body = b"z" * 3_000_000
        f("upload", f"{body.decode()}\n2 200 3000000", "--http2", f"{tls}/echo", "--data-binary", "@-", data=body)
        many = run("--http2", "--parallel", *[f"{tls}/{n}" for n in range(40)])
        check("curl.parallel", many.count("\n2 200") == 40, many[-300:])


class Python:
    """A connection of Python's h2."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def begin(self, path, method="GET", fields=(), ends=True):
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "front"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=ends)
        self.flush()
        return stream

    def answers(self, streams):
        """Status, body and trailers of each stream; the reason of a reset."""
        found, open_streams = {stream: [None, b"", None] for stream in streams}, set(streams)
        while open_streams:
            data = self.socket.recv(65536)
            if not data:
                break
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    found[event.stream_id][0] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    found[event.stream_id][1] += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    found[event.stream_id][2] = dict(event.headers)
                elif isinstance(event, h2.events.StreamReset):
                    found[event.stream_id][2] = event.error_code
                    open_streams.discard(event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    open_streams.discard(event.stream_id)
            self.flush()
        return [found[stream] for stream in streams]


def python():
    with Proxy() as proxy:
        client = Python(proxy.plain)
        streams = [client.begin("/large" if n % 10 == 0 else "/") for n in range(60)]
        answers = client.answers(streams)
        sizes = [len(body) for _, body, _ in answers]
        check("python.many_streams", sizes == [1 << 20 if n % 10 == 0 else 2 for n in range(60)], sizes)
        stream = client.begin("/echo", "POST", [("trailer", "x-end")], ends=False)
        client.h2.send_data(stream, b"body")
        client.h2.send_headers(stream, [("x-end", "1")], end_stream=True)
        client.flush()
        check("python.request_trailers", client.answers([stream]) == [["200", b"body", None]])
        answer = client.answers([client.begin("/trailers")])
        check("python.reply_trailers", answer == [["200", b"body", {"x-sum": "0"}]], answer)
        stream = client.begin("/never")
        client.h2.reset_stream(stream)
        client.flush()
        check("python.goes_on_after_a_reset", client.answers([client.begin("/")]) == [["200", b"ok", None]])


def program(name, command):
    """A client that prints one line a check."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    lines = run.stdout.splitlines()
    for line in lines:
        what, _, result = line.partition(": ")
        check(f"{name}.{what}", result == "ok", result)
    check(f"{name}.all", lines and lines[-1] == "end: ok" and run.returncode == 0, run.stderr[-1000:])


def node():
    with Proxy() as proxy:
        program("node", [shutil.which("node"), HERE / "node_client.mjs", str(proxy.plain), str(proxy.tls)])


def java():
    with Proxy() as proxy:
        certificate = os.path.join(proxy.folder.name, "cert.pem")
        program("java", [shutil.which("java"), HERE / "JavaClient.java", str(proxy.plain), str(proxy.tls), certificate])


def node_backend():
    """A WebSocket from a client of HTTP/1 to a server of HTTP/2."""
    with subprocess.Popen([shutil.which("node"), HERE / "node_backend.mjs"], stdout=subprocess.PIPE, text=True) as backend:
        try:
            with Proxy(backend=f"h2c://127.0.0.1:{int(backend.stdout.readline())}/") as proxy:
                websocket_of_http1(proxy.plain)
        finally:
            backend.kill()


def websocket_of_http1(port):
    with socket.create_connection(("127.0.0.1", port), 30) as client, client.makefile("rb") as reader:
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = b"".join(iter(reader.readline, b"\r\n")).lower()
        check("node_backend.switches", head.startswith(b"http/1.1 101 ") and b"\r\nsec-websocket-protocol: chat\r\n" in head, head)
        # The answer of RFC 6455 §1.3, in lower case.
        check("node_backend.accepts", b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in head, head)
        pieces = [bytes([at]) * 50_000 for at in range(6)]
        check("node_backend.sends_back", all(client.sendall(piece) or reader.read(len(piece)) == piece for piece in pieces))
        client.shutdown(socket.SHUT_WR)
        check("node_backend.ends", reader.read() == b"goodbye")


PARTS = (curl, python, node, node_backend, java)
