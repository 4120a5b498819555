"""Backends and the identity provider. Each can be told to fail; every request that was read whole is remembered by its id."""

import asyncio
import hashlib
import json
import random

# Ways to fail: refuse connections, reset after the head, never answer, cut the reply in its middle, answer 503.
FAULTS = ("refuse", "reset", "stall", "cut", "busy")
BIG = bytes(range(256)) * 4096  # 1 MiB


class Backend:
    """Answers every request with its id, its size and the hash of its body, so that the client can tell that the reply is its own."""

    def __init__(self, name):
        self.name, self.mode, self.heads, self.server, self.port = name, "ok", 0, None, 0
        self.seen = {}  # id → how often
        self.harmed = set()  # ids whose exchange this backend broke or refused
        self.current = set()  # ids that are being served
        self.holding = {}  # id → event, set when a request that is held was read
        self.writers = set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=512)
        self.port = self.server.sockets[0].getsockname()[1]

    async def set_mode(self, mode):
        if mode == self.mode:
            return
        if self.mode == "refuse":
            await self.start()
        self.mode = mode
        if mode == "refuse":
            self.server.close()
            self.harmed |= self.current
            for writer in list(self.writers):
                writer.close()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self.exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def exchange(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads += 1
        fields = fields_of(head)
        target, number = head.split(b" ", 2)[1].decode(), fields.get(b"x-soak", b"").decode()
        if writer.is_closing():  # told to refuse while the request was on its way
            self.harmed.add(number)
            return False
        self.current.add(number)
        try:
            return await self.reply_to(reader, writer, target, number, fields)
        finally:
            self.current.discard(number)

    async def reply_to(self, reader, writer, target, number, fields):
        if number in self.holding:
            self.holding[number].set()
            await reader.read()  # until the proxy lets go
            return False
        if self.mode == "reset":
            self.harmed.add(number)
            writer.transport.abort()
            return False
        if target.startswith("/ws"):
            return await self.tunnel(reader, writer)
        digest, size = await self.body(reader, fields)
        self.seen[number] = self.seen.get(number, 0) + 1
        if self.mode == "stall":
            self.harmed.add(number)
            await reader.read()
            return False
        return await self.answer(writer, target, number, f"{number} {size} {digest}".encode())

    async def answer(self, writer, target, number, body):
        if target.startswith("/big"):
            body += b" " + BIG
        status = "200 OK"
        if self.mode == "busy":
            self.harmed.add(number)
            status = "503 Busy"
        if random.random() < 0.5:
            pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
            payload = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            framing = "Transfer-Encoding: chunked"
        else:
            payload, framing = body, f"Content-Length: {len(body)}"
        reply = f"HTTP/1.1 {status}\r\n{framing}\r\nX-Backend: {self.name}\r\n\r\n".encode() + payload
        if self.mode == "cut":
            self.harmed.add(number)
            writer.write(reply[: len(reply) - len(payload) // 2 - 2])
            await writer.drain()
            return False
        writer.write(reply)
        await writer.drain()
        return True

    async def body(self, reader, fields):
        digest, size = hashlib.sha256(), 0
        if fields.get(b"transfer-encoding") == b"chunked":
            while length := int((await reader.readline()).split(b";")[0], 16):
                piece = await reader.readexactly(length + 2)
                digest.update(piece[:-2])
                size += length
            while await reader.readline() not in (b"\r\n", b""):
                pass
        elif left := int(fields.get(b"content-length", b"0")):
            while left:
                piece = await reader.read(min(left, 65536))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                digest.update(piece)
                size += len(piece)
                left -= len(piece)
        return digest.hexdigest()[:16], size

    async def tunnel(self, reader, writer):
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while piece := await reader.read(4096):
            writer.write(piece)
            await writer.drain()
        return False


def fields_of(head):
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]
    return {name.lower(): value.strip() for name, _, value in lines}


class Provider:
    """An OpenID provider: discovery and keys; can answer 500, never, or not at all."""

    def __init__(self, jwks):
        self.jwks, self.mode, self.port, self.server, self.requests = jwks, "ok", 0, None, 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                if self.mode == "stall":
                    await asyncio.sleep(8)
                if self.mode in ("stall", "close"):
                    break
                document = self.jwks if b"/keys" in head.split(b"\r\n")[0] else json.dumps({"issuer": self.issuer, "jwks_uri": self.issuer + "/keys"})
                status = "500 Oops" if self.mode == "error" else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(document)}\r\nCache-Control: max-age=1\r\n\r\n{document}".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
