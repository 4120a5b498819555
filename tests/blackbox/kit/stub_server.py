"""A stub server on its own port: it records connections and requests, and may be told to refuse or to fall silent."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ..ports import bound_socket
from ..wire import Message, Reader, WireError

KEYS = Path(__file__).resolve().parents[2] / "conformance/keys"

REASONS = {200: "OK", 204: "No Content", 302: "Found", 304: "Not Modified", 404: "Not Found"}


@dataclass
class Request:
    """A request as it arrived to a stub."""

    stub: str
    message: Message

    @property
    def method(self) -> str:
        """The request method."""
        return self.message.start_line.split(" ", 1)[0]

    @property
    def target(self) -> str:
        """The exact request target."""
        return self.message.start_line.split(" ", 1)[1].rsplit(" ", 1)[0]


class Journal:
    """What all the stubs of a case have seen, in the order of arrival."""

    def __init__(self) -> None:
        self.requests: list = []
        self.connections: list[str] = []
        self.lock = threading.Lock()

    def add(self, request: Request) -> None:
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

    def since(self, mark: tuple[int, int]) -> tuple[list, list[str]]:
        """Return requests and connections seen since the given position."""
        with self.lock:
            return self.requests[mark[0] :], self.connections[mark[1] :]


class StubServer:
    """A stub server; what it answers is up to its kind.

    expand substitutes placeholders inside behaviours at the time of use.
    """

    def __init__(self, name: str, behaviour: dict, journal: Journal, expand):
        self.name = name
        self.journal = journal
        self.expand = expand
        self.behaviour: dict = {}
        self.served = 0
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
            while self.exchange(conn, reader, cert, server_name):
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

    def behaviour_for(self, target: str) -> dict:
        """Return the behaviour for the next request."""
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

    def exchange(self, conn: socket.socket, reader: Reader, cert: str, server_name: str) -> bool:
        """Serve a single request; return whether to keep the connection."""
        raise NotImplementedError

    def answer(self, conn: socket.socket, request: Request, do: dict) -> bool:
        """Answer a request; return whether to keep the connection."""
        match do.get("close"):
            case "before":
                return False
            case "reset":
                abort(conn)
                return False
        if "raw" in do or "raw_parts" in do:
            for part in [do["raw"]] if "raw" in do else do["raw_parts"]:
                if isinstance(part, str):
                    conn.sendall(self.expand(part).encode("latin-1"))
                else:
                    time.sleep(part)
            return False
        return self.respond(conn, request, do)

    def respond(self, conn: socket.socket, request: Request, do: dict) -> bool:
        """Send a well-formed reply; return whether to keep the connection."""
        raise NotImplementedError


def reply_head(status: int, lines: list[str]) -> bytes:
    """Return the head of a reply."""
    return "\r\n".join([f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *lines, "", ""]).encode("latin-1")


def send_body(conn: socket.socket, request: Request, do: dict, status: int, lines: list[str], body: bytes) -> None:
    """Send a reply with this body, or as much of it as the behaviour allows."""
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    if request.method == "HEAD" or status in (204, 304):
        body = b""
    if do.get("close") == "mid_body":
        body = body[: len(body) // 2]
    conn.sendall(reply_head(status, lines) + body)


def send_chunks(conn: socket.socket, do: dict, pieces: list[bytes]) -> None:
    """Send a chunked body, unless the behaviour breaks it off before its end."""
    for n, piece in enumerate(pieces):
        if n:
            time.sleep(do.get("chunk_delay", 0))
        conn.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    if do.get("close") != "mid_body":
        trailers = "".join(f"{line}\r\n" for line in do.get("trailers", []))
        conn.sendall(f"0\r\n{trailers}\r\n".encode("latin-1"))


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
