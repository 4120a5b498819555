"""What stands between an authority and processes: a way to it that can be blocked for some hosts, and a balancer of its validations."""
import base64
import http.client
import http.server
import itertools
import json
import socket
import socketserver
import ssl
import threading

from kit import free_port


PROBLEM = b'{"type": "urn:ietf:params:acme:error:serverInternal", "detail": "out of order", "status": 500}'


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients may leave."""


class Balancer:
    """Leads connections to ports in turn, and counts them; use it in a `with`."""

    def __init__(self, ports):
        self.port, self.taken = free_port(), [0] * len(ports)
        turns, balancer = itertools.cycle(range(len(ports))), self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                turn = next(turns)
                with socket.create_connection(("127.0.0.1", ports[turn]), timeout=30) as upstream:
                    balancer.taken[turn] += 1
                    back = threading.Thread(target=copy, args=(upstream, self.request), daemon=True)
                    back.start()
                    copy(self.request, upstream)
                    back.join()

        class Forwarder(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True

            def handle_error(self, request, client_address):
                """Either side may leave."""

        self._server = Forwarder(("127.0.0.1", self.port), Handler)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


class Gate:
    """Stands in front of `authority` as one itself; use it in a `with`."""

    def __init__(self, authority, *hosts):
        self.folder, self.hosts = authority.folder, set(hosts)
        self.held, self._open = threading.Event(), threading.Event()
        self.failing = None   # begin of a path, whose next request is answered by a fault of the authority
        port = free_port()
        self.url = f"https://localhost:{port}/dir"
        self._upstream, self._trust = authority.port, ssl.create_default_context(cafile=self.folder / "ca.pem")
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                gate.pass_on(self)

            do_GET = do_HEAD = do_POST = handle_one

            def log_message(self, *words):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "ca.pem", self.folder / "key.pem")
        # The handshake is the business of the thread that serves the connection.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.open()
        self._server.shutdown()
        self._server.server_close()

    def open(self):
        """Nothing waits any more."""
        self._open.set()

    def pass_on(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.hosts & set(ordered(body)) and not self._open.is_set():
            self.held.set()
            self._open.wait(120)
        if self.failing and request.path.startswith(self.failing):
            self.failing = None
            return answer(request, 500, [("Content-Type", "application/problem+json")], PROBLEM, len(PROBLEM))
        upstream = http.client.HTTPSConnection("localhost", self._upstream, context=self._trust, timeout=60)
        # The authority makes its URLs out of the header Host, so they lead here.
        upstream.request(request.command, request.path, body or None, dict(request.headers))
        reply = upstream.getresponse()
        content = reply.read()
        answer(request, reply.status, reply.getheaders(), content, reply.headers["Content-Length"] if request.command == "HEAD" else len(content))
        upstream.close()


def answer(request, status, headers, content, length):
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            request.send_header(name, value)
    request.send_header("Content-Length", str(length))
    request.end_headers()
    request.wfile.write(content)


def copy(source, target):
    """Until the end, which is passed on."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def ordered(body):
    """Names that a request asks an order for, by its payload (RFC 8555 §7.4)."""
    try:
        payload = json.loads(body)["payload"]
        order = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return [identifier["value"] for identifier in order["identifiers"]]
    except (ValueError, KeyError, TypeError):
        return []
