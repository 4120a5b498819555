"""Stub servers around the agent: targets, remotes, token endpoints and proxies.

They record every request and answer as a case says.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import socket
import threading
import time
from dataclasses import dataclass, field

from blackbox.kit.stub_server import Request, StubServer, reply_head, send_body, send_chunks
from blackbox.wire import Reader

from . import protobuf

BEHAVIOUR_KEYS = {
    "status", "statuses", "headers", "body", "bodies", "series", "encoding", "gzip", "chunks",
    "chunk_delay", "delay", "close", "stall", "refuse", "raw", "raw_parts", "tls", "tls_max",
    "client_ca", "routes", "script", "keep_alive", "token", "forward",
}  # fmt: skip
TOKEN_KEYS = {"access_token", "lifetime", "type", "claims", "extra"}

@dataclass
class Received(Request):
    """A request as it arrived to a stub, and the status it was answered with."""

    at: float = field(default_factory=time.time)
    client_cert: str = ""
    server_name: str = ""
    status: int = 0

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


class Stub(StubServer):
    """A stub of any kind."""

    tokens = 0

    def exchange(self, conn: socket.socket, reader: Reader, cert: str, server_name: str) -> bool:
        """Serve a single request; return whether to keep the connection."""
        request = Received(self.name, reader.head(), client_cert=cert, server_name=server_name)
        if not self.listening:
            return False
        reader.request_body(request.message)
        do = self.behaviour_for(request.target)
        self.journal.add(request)
        if do.get("stall"):
            time.sleep(60)
            return False
        time.sleep(do.get("delay", 0))
        if do.get("forward") and request.method == "CONNECT":
            request.status = 200
            tunnel(conn, request.target)
            return False
        return self.answer(conn, request, do)

    def respond(self, conn: socket.socket, request: Received, do: dict) -> bool:
        """Send a well-formed reply; return whether to keep the connection."""
        status = request.status = do.get("status", 200)
        lines = [self.expand(h) for h in do.get("headers", [])]
        if "chunks" in do:
            conn.sendall(reply_head(status, [*lines, "Transfer-Encoding: chunked"]))
            encoding = do.get("encoding", "utf-8")
            send_chunks(conn, do, [self.expand(chunk).encode(encoding) for chunk in do["chunks"]])
        else:
            body = self._body(do)
            if zipped(do, request):
                lines.append("Content-Encoding: gzip")
                body = pack(body, do["gzip"])
            send_body(conn, request, do, status, lines, body)
        return do.get("keep_alive", True) and "close" not in do

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
