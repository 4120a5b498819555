"""Backends of Node's http2 behind clients of HTTP/1: what is negotiated, and that messages come through whole."""

import http.client
import socket
from pathlib import Path

import kit
from proxy import BASIC, Certificate, Proxy, basic_user

HEADERS = {"Authorization": BASIC[1]}


class Server(kit.Process):
    def __init__(self, *args):
        super().__init__("node", "node", Path(__file__).resolve().parent / "server.mjs", *args)
        self.port = int(self.wait_log(r"port (\d+)").group(1))


def ask(proxy, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    try:
        connection.request(method, path, body, HEADERS | headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def upgrade(proxy):
    """What comes back after an upgrade, and the status before it."""
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {BASIC[1]}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return head, b""
            head += piece
        if not head.startswith(b"HTTP/1.1 101"):
            return head, b""
        client.sendall(b"echoed")
        return head, client.recv(6)


def messages():
    server = Server("h2c")
    proxy = Proxy(basic_user(url_prefix=f"h2c://127.0.0.1:{server.port}"))
    status, headers, body = ask(proxy, "GET", "/")
    kit.check("node: GET", (status, headers["x-version"], body) == (200, "2.0", b""), (status, headers, body))
    large = bytes(range(256)) * 8000
    status, headers, body = ask(proxy, "POST", "/", large)
    kit.check("node: POST of 2 MB with a length", (status, body == large) == (200, True), (status, len(body)))
    status, headers, body = ask(proxy, "PUT", "/", iter([large[:1000], large[1000:]]))
    kit.check("node: a chunked PUT", (status, headers["x-method"], body == large) == (200, "PUT", True), (status, len(body)))
    status, headers, body = ask(proxy, "HEAD", "/large")
    kit.check("node: HEAD", (status, headers["content-length"], body) == (200, "5000000", b""), (status, headers))
    status, headers, body = ask(proxy, "GET", "/large")
    kit.check("node: 5 MB", (status, len(body)) == (200, 5_000_000), (status, len(body)))
    status, headers, body = ask(proxy, "DELETE", "/empty")
    kit.check("node: 204", (status, body, headers["content-length"]) == (204, b"", None), (status, headers))
    status, headers, body = ask(proxy, "GET", "/", Cookie="a=b; c=d")
    kit.check("node: cookies", headers["x-cookie"] == "a=b; c=d", headers)
    status, headers, body = ask(proxy, "POST", "/early", large)
    kit.check("node: an answer before the request has ended", (status, body) == (413, b"too large"), (status, body))
    try:
        broken = ask(proxy, "GET", "/broken")
    except (http.client.IncompleteRead, ConnectionError):
        broken = None
    kit.check("node: half a reply is not taken for a whole one", broken is None, broken)
    proxy.stop()


def negotiation():
    certificate = Certificate()
    server = Server("tls", certificate.cert, certificate.key)
    fields = {"url_prefix": f"https://localhost:{server.port}", "tls_ca_file": str(certificate.ca)}
    proxy = Proxy(basic_user(**fields))
    kit.check("node: ALPN chooses HTTP/2", ask(proxy, "GET", "/")[1]["x-version"] == "2.0", proxy.log()[-2000:])
    head, echoed = upgrade(proxy)
    kit.check("node: an upgrade goes over HTTP/1.1", echoed == b"echoed", head)
    kit.check("node: and HTTP/2 goes on", ask(proxy, "GET", "/")[1]["x-version"] == "2.0")
    proxy.stop()
    proxy = Proxy(basic_user(**fields), "-backend.http2.disable")
    kit.check("node: HTTP/2 switched off", ask(proxy, "GET", "/")[1]["x-version"] == "1.1")
    proxy.stop()
    forced = Proxy(basic_user(**(fields | {"url_prefix": f"h2://localhost:{server.port}"})), "-backend.http2.disable")
    kit.check("node: h2:// forces it", ask(forced, "GET", "/")[1]["x-version"] == "2.0")
    head, _ = upgrade(forced)
    kit.check("node: h2:// answers an upgrade without it", head.startswith(b"HTTP/1.1 200"), head)
    forced.stop()


PARTS = (messages, negotiation)
