"""Stub servers around the agent: targets, remotes, token endpoints and proxies.

They record every request and answer as a case says.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from blackbox.wire import Message, Reader, WireError

from . import protobuf
from .ports import bound_socket

KEYS = Path(__file__).resolve().parents[2] / "conformance/keys"

BEHAVIOUR_KEYS = {
    "status", "statuses", "headers", "body", "bodies", "series", "encoding", "gzip", "chunks",
    "chunk_delay", "delay", "close", "stall", "refuse", "raw", "raw_parts", "tls", "tls_max",
    "client_ca", "routes", "script", "keep_alive", "token", "forward",
}  # fmt: skip
TOKEN_KEYS = {"access_token", "lifetime", "type", "claims", "extra"}

REASONS = {200: "OK", 204: "No Content", 302: "Found", 404: "Not Found"}


@dataclass
class Received:
    """A request as it arrived to a stub, and the status it was answered with."""

    stub: str
    message: Message
    at: float = field(default_factory=time.time)
    client_cert: str = ""
    server_name: str = ""
    status: int = 0

    @property
    def method(self) -> str:
        """The request method."""
        return self.message.start_line.split(" ", 1)[0]

    @property
    def target(self) -> str:
        """The exact request target."""
        return self.message.start_line.split(" ", 1)[1].rsplit(" ", 1)[0]

    @property
    def accepted(self) -> bool:
        """Whether the request was answered with success."""
        return 200 <= self.status < 300

    @functools.cached_property
    def decoded(self) -> protobuf.WriteRequest:
        """The body of a remote write request; an empty one if it cannot be decoded."""
        body = self.message.body
        encoding = self.message.headers.get("Content-Encoding")
        try:
            if encoding == "zstd":
                body = protobuf.unzstd(body)
            elif encoding == "snappy":
                body = protobuf.unsnappy(body)
            return protobuf.write_request(body)
        except (protobuf.DecodeError, ValueError, IndexError):
            return protobuf.WriteRequest()


class Journal:
    """What all the stubs of a case have seen, in the order of arrival."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.connections: list[str] = []
        self.lock = threading.Lock()

    def add(self, request: Received) -> None:
        """Note an arrived request."""
        with self.lock:
            self.requests.append(request)

    def connected(self, name: str) -> None:
        """Note an accepted connection."""
        with self.lock:
            self.connections.append(name)

    def mark(self) -> tuple[int, int]:
        """Remember the current position."""
        with self.lock:
            return len(self.requests), len(self.connections)

    def since(self, mark: tuple[int, int]) -> tuple[list[Received], list[str]]:
        """Return requests and connections seen since the given position."""
        with self.lock:
            return self.requests[mark[0] :], self.connections[mark[1] :]


class Stub:
    """A stub server on its own port.

    expand substitutes placeholders inside behaviours at the time of use.
    """

    def __init__(self, name: str, behaviour: dict, journal: Journal, expand):
        self.name = name
        self.journal = journal
        self.expand = expand
        self.behaviour: dict = {}
        self.served = 0
        self.tokens = 0
        self.server_names: dict[int, str] = {}
        self.connections: set[socket.socket] = set()
        self.sock = bound_socket()
        self.port = self.sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.listening = False
        self.configure(behaviour)

    def configure(self, behaviour: dict) -> None:
        """Replace the behaviour; start or stop listening when it says so."""
        self.behaviour = behaviour
        self.served = 0
        if behaviour.get("refuse"):
            self._stop_listening()
        else:
            self._start_listening()

    def _start_listening(self) -> None:
        if self.listening:
            return
        self.sock.listen(256)
        self.listening = True
        threading.Thread(target=self._accept, args=(self.sock,), daemon=True).start()

    def _stop_listening(self) -> None:
        if not self.listening:
            return
        self.listening = False
        self._drop()
        # The port stays reserved, but connections to it are refused.
        self.sock = bound_socket(self.port)
        time.sleep(0.05)  # let the peer notice that its idle connections are gone

    def _drop(self) -> None:
        """Close the listening socket and every accepted connection."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for conn in list(self.connections):
            abort(conn)

    def close(self) -> None:
        """Stop the stub for good."""
        self._drop()

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        self.journal.connected(self.name)
        self.connections.add(conn)
        try:
            cert = server_name = ""
            if "tls" in self.behaviour:
                self.connections.discard(conn)
                conn = self._tls_context().wrap_socket(conn, server_side=True)
                self.connections.add(conn)
                cert = common_name(conn.getpeercert() or {})
                server_name = self.server_names.pop(id(conn), "")
            reader = Reader(conn)
            while self._exchange(conn, reader, cert, server_name):
                pass
        except (OSError, EOFError, WireError, ValueError):
            pass
        finally:
            self.connections.discard(conn)
            conn.close()

    def _tls_context(self) -> ssl.SSLContext:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = self.behaviour["tls"]
        ctx.load_cert_chain(KEYS / f"{name}.crt", KEYS / f"{name}.key")
        if version := self.behaviour.get("tls_max"):
            ctx.maximum_version = ssl.TLSVersion[version]
        if ca := self.behaviour.get("client_ca"):
            ctx.load_verify_locations(KEYS / f"{ca}.crt")
            ctx.verify_mode = ssl.CERT_REQUIRED
        ctx.sni_callback = lambda conn, sni, _: self.server_names.update({id(conn): sni or ""})
        return ctx

    def _behaviour_for(self, target: str) -> dict:
        behaviour = dict(self.behaviour)
        number = self.served
        for plural, single in (("statuses", "status"), ("bodies", "body")):
            if items := behaviour.pop(plural, None):
                behaviour[single] = items[min(number, len(items) - 1)]
        if script := behaviour.pop("script", None):
            behaviour.update(script[min(number, len(script) - 1)])
        if routes := behaviour.pop("routes", None):
            behaviour.update(routes.get(target.split("?")[0], {}))
        self.served += 1
        return behaviour

    def _exchange(self, conn: socket.socket, reader: Reader, cert: str, server_name: str) -> bool:
        """Serve a single request; return whether to keep the connection."""
        request = Received(self.name, reader.head(), client_cert=cert, server_name=server_name)
        if not self.listening:
            return False
        reader.request_body(request.message)
        do = self._behaviour_for(request.target)
        self.journal.add(request)
        if do.get("stall"):
            time.sleep(60)
            return False
        time.sleep(do.get("delay", 0))
        if do.get("forward") and request.method == "CONNECT":
            request.status = 200
            tunnel(conn, request.target)
            return False
        return self._answer(conn, request, do)

    def _answer(self, conn: socket.socket, request: Received, do: dict) -> bool:
        match do.get("close"):
            case "before":
                return False
            case "reset":
                abort(conn)
                return False
        if "raw" in do:
            conn.sendall(self.expand(do["raw"]).encode("latin-1"))
            return False
        if "raw_parts" in do:
            for part in do["raw_parts"]:
                if isinstance(part, str):
                    conn.sendall(self.expand(part).encode("latin-1"))
                else:
                    time.sleep(part)
            return False
        request.status = do.get("status", 200)
        self._respond(conn, request, do)
        return do.get("keep_alive", True) and "close" not in do

    def _respond(self, conn: socket.socket, request: Received, do: dict) -> None:
        status = request.status
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [self.expand(h) for h in do.get("headers", [])]
        if "chunks" in do:
            self._respond_chunked(conn, do, lines)
            return
        body = self._body(do)
        if zipped(do, request):
            lines.append("Content-Encoding: gzip")
            body = pack(body, do["gzip"])
        if status not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        if request.method == "HEAD" or status in (204, 304):
            body = b""
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if do.get("close") == "mid_body":
            body = body[: len(body) // 2]
        conn.sendall(head + body)

    def _respond_chunked(self, conn: socket.socket, do: dict, lines: list[str]) -> None:
        lines.append("Transfer-Encoding: chunked")
        conn.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        for n, chunk in enumerate(do["chunks"]):
            if n:
                time.sleep(do.get("chunk_delay", 0))
            data = self.expand(chunk).encode(do.get("encoding", "utf-8"))
            conn.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        if do.get("close") != "mid_body":
            conn.sendall(b"0\r\n\r\n")

    def _body(self, do: dict) -> bytes:
        if "token" in do and "body" not in do:
            self.tokens += 1
            return token_reply(self.expand(do["token"]), self.tokens)
        if "series" in do:
            return "".join(f's{{i="{i}"}} {i}\n' for i in range(do["series"])).encode()
        return self.expand(do.get("body", "")).encode(do.get("encoding", "utf-8"))


def zipped(do: dict, request: Received) -> bool:
    """Tell whether the reply has to be compressed."""
    how = do.get("gzip")
    if how == "accept":
        return "gzip" in request.message.headers.get("Accept-Encoding")
    return bool(how)


def pack(body: bytes, how) -> bytes:
    """Compress the body; `how` may ask to spoil the result."""
    if how == "plain":
        return body
    data = gzip.compress(body)
    return data[: len(data) // 2] if how == "cut" else data


def token_reply(token: dict, number: int) -> bytes:
    """Build the reply of a token endpoint: the token is `token-N` unless it is given."""
    access = token.get("access_token", f"token-{number}")
    if "claims" in token:
        parts = (json.dumps({"alg": "none"}), token["claims"], access)
        access = ".".join(
            base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts
        )
    reply = {"access_token": access, "token_type": token.get("type", "Bearer")}
    if (lifetime := token.get("lifetime", 3600)) is not False:
        reply["expires_in"] = lifetime
    return json.dumps({**reply, **token.get("extra", {})}).encode()


def tunnel(conn: socket.socket, address: str) -> None:
    """Connect to the address and pass bytes in both directions."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5) as peer:
        conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        thread = threading.Thread(target=pump, args=(peer, conn), daemon=True)
        thread.start()
        pump(conn, peer)
        thread.join(5)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until the source is closed."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def abort(conn: socket.socket) -> None:
    """Close the connection with RST."""
    try:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    conn.close()


def common_name(cert: dict) -> str:
    """Return CN of the certificate in the form given by the ssl module."""
    for rdn in cert.get("subject", ()):
        for name, value in rdn:
            if name == "commonName":
                return value
    return ""
