"""Clients of the soak. Each knows for every request what must come back, and counts what did."""

import asyncio
import base64
import collections
import hashlib
import itertools
import os
import random
import ssl

from .peers import BIG, fields_of

NUMBERS = itertools.count(1)
REPLY_LIMIT = 25  # seconds: longer than any deadline of the proxy in this run


class Lost(Exception):
    """A reply that did not come, or came wrong, with nobody's fault to explain it."""


class Tally:
    """What was sent, and how each of it ended."""

    def __init__(self):
        self.counts = collections.Counter()
        self.statuses = collections.Counter()
        self.failures = []
        self.authorised = 0  # requests that the proxy must have counted for a user
        self.left = 0  # requests that their client gave up
        self.left_backend = 0  # those of them that had arrived at a backend

    def fail(self, text):
        self.counts["lost"] += 1
        if len(self.failures) < 20:
            self.failures.append(text)


class Connection:
    """A keep-alive connection of one client, opened when needed."""

    def __init__(self, address, tls=None):
        self.address, self.tls, self.reader, self.writer = address, tls, None, None

    async def open(self):
        if self.writer is None:
            options = {"ssl": self.tls, "server_hostname": "localhost"} if self.tls else {}
            self.reader, self.writer = await asyncio.open_connection(*self.address, **options)

    def close(self, abort=False):
        if self.writer is not None:
            if abort:
                self.writer.transport.abort()
            self.writer.close()
            self.reader = self.writer = None

    async def head(self):
        """(status, fields) of the next final reply."""
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200 or status == 101:
                return status, fields_of(head)

    async def body(self, fields, pause=0.0):
        """The body, read slowly if asked; raises IncompleteReadError when it breaks off."""
        parts = []
        if fields.get(b"transfer-encoding") == b"chunked":
            while length := int(await self.line(), 16):
                parts.append((await self.reader.readexactly(length + 2))[:-2])
                await asyncio.sleep(pause)
            await self.line()
            return b"".join(parts)
        left = int(fields.get(b"content-length", b"0"))
        while left:
            piece = await self.reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            parts.append(piece)
            left -= len(piece)
            await asyncio.sleep(pause)
        return b"".join(parts)

    async def line(self):
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise asyncio.IncompleteReadError(line, None)
        return line


class Clients:
    """All kinds of clients of one proxy."""

    def __init__(self, proxy, tally, backends, holder, token):
        self.proxy, self.tally, self.backends, self.holder, self.token = proxy, tally, backends, holder, token
        self.tls = ssl.create_default_context(cafile=str(proxy.keys / "ca.crt"))
        self.basic = "Authorization: Basic " + base64.b64encode(b"alice:secret").decode()

    def kinds(self):
        """(name, coroutine function, how many at once)."""
        return (
            ("get", self.get, 6), ("post", self.post, 4), ("tls", self.over_tls, 3), ("token", self.with_token, 3), ("slow", self.slow_reader, 3),
            ("tunnel", self.tunnel, 2), ("leaver", self.leaver, 3), ("half", self.half_body, 2), ("guesser", self.guesser, 2),
        )

    async def run(self, kind, until):
        """One client that repeats its kind of request until the event is set."""
        connection = Connection(self.proxy.tls_address if kind.__name__ == "over_tls" else self.proxy.address, self.tls if kind.__name__ == "over_tls" else None)
        while not until.is_set():
            try:
                await asyncio.wait_for(kind(connection), REPLY_LIMIT)
            except Lost as lost:
                self.tally.fail(f"{kind.__name__}: {lost}")
                connection.close()
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                self.tally.fail(f"{kind.__name__}: {type(error).__name__} {error}")
                connection.close()
            await asyncio.sleep(random.random() * 0.02)
        connection.close()

    async def request(self, connection, method, path, credentials, body=None, pause=0.0):
        """Sends one request and checks its reply, whatever backend answers."""
        number = f"r{next(NUMBERS)}"
        lines = [f"{method} {path} HTTP/1.1", "Host: soak", f"X-Soak: {number}", credentials]
        payload = body or b""
        if body is not None and random.random() < 0.5:
            lines.append("Transfer-Encoding: chunked")
            half = len(body) // 2
            payload = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part) + b"0\r\n\r\n"
        elif body is not None:
            lines.append(f"Content-Length: {len(body)}")
        await connection.open()
        self.tally.counts["sent"] += 1
        self.tally.authorised += 1
        connection.writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
        status, fields = await self.first_of_reply(connection, number)
        try:
            text = await connection.body(fields, pause)
        except asyncio.IncompleteReadError:
            connection.close()
            if not self.harmed(number):
                raise Lost(f"{number}: the reply broke off, and no backend did that") from None
            self.tally.counts["cut by a backend"] += 1
            return
        self.judge(number, status, text, body or b"", path)
        if fields.get(b"connection", b"").lower() == b"close":
            connection.close()

    async def first_of_reply(self, connection, number):
        try:
            return await connection.head()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Lost(f"{number}: no reply") from None

    def harmed(self, number):
        return any(number in backend.harmed for backend in self.backends)

    def judge(self, number, status, text, body, path):
        self.tally.statuses[status] += 1
        self.tally.counts["answered"] += 1
        if status != 200:
            if status not in (502, 503):
                self.tally.fail(f"{number}: status {status}: {text[:200]!r}")
            return
        wanted = f"{number} {len(body)} {hashlib.sha256(body).hexdigest()[:16]}".encode()
        if path.startswith("/big"):
            wanted += b" " + BIG
        if text != wanted:
            self.tally.fail(f"{number}: a wrong reply: {text[:80]!r}, want {wanted[:80]!r}")

    async def get(self, connection):
        await self.request(connection, "GET", "/get", self.basic)

    async def post(self, connection):
        await self.request(connection, "POST", "/post", self.basic, os.urandom(random.choice((0, 10, 5_000, 40_000, 200_000))))

    async def over_tls(self, connection):
        await self.request(connection, "POST", "/tls", self.basic, os.urandom(random.choice((1, 20_000))))
        if random.random() < 0.2:
            connection.close()

    async def with_token(self, connection):
        await self.request(connection, "GET", "/token", f"Authorization: Bearer {self.token}")

    async def slow_reader(self, connection):
        await self.request(connection, "GET", "/big", self.basic, pause=0.05)

    async def tunnel(self, connection):
        """An upgrade that echoes; the client ends it."""
        await connection.open()
        self.tally.counts["sent"] += 1
        self.tally.authorised += 1
        lines = ["GET /ws HTTP/1.1", "Host: soak", "X-Soak: tunnel", "Connection: Upgrade", "Upgrade: websocket", self.basic, "", ""]
        connection.writer.write("\r\n".join(lines).encode())
        status, fields = await self.first_of_reply(connection, "tunnel")
        if status != 101:
            raise Lost(f"tunnel: status {status} {fields}")
        for _ in range(10):
            message = os.urandom(500)
            connection.writer.write(message)
            if await connection.reader.readexactly(len(message)) != message:
                raise Lost("tunnel: wrong bytes")
            await asyncio.sleep(0.01)
        connection.close()
        self.tally.counts["answered"] += 1

    async def leaver(self, connection):
        """Leaves when its request has arrived at the backend."""
        number = f"h{next(NUMBERS)}"
        arrived = self.holder.holding[number] = asyncio.Event()
        await connection.open()
        self.tally.counts["sent"] += 1
        self.tally.authorised += 1
        connection.writer.write("\r\n".join(["GET /hold HTTP/1.1", "Host: soak", f"X-Soak: {number}", self.basic, "", ""]).encode())
        await arrived.wait()
        del self.holder.holding[number]
        self.tally.left_backend += 1
        connection.close(abort=random.random() < 0.5)
        self.tally.counts["cut by the client"] += 1
        self.tally.left += 1

    async def half_body(self, connection):
        """Leaves in the middle of a body that the proxy has begun to read."""
        await connection.open()
        self.tally.counts["sent"] += 1
        self.tally.authorised += 1
        lines = ["POST /hold HTTP/1.1", "Host: soak", "X-Soak: half", "Content-Length: 100000", "Expect: 100-continue", self.basic, "", ""]
        connection.writer.write("\r\n".join(lines).encode())
        if not (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 "):
            raise Lost("half: no 100 Continue")
        connection.writer.write(b"x" * 5_000)
        await connection.writer.drain()
        connection.close(abort=random.random() < 0.5)
        self.tally.counts["cut by the client"] += 1
        self.tally.left += 1

    async def guesser(self, connection):
        """Wrong credentials: a late 401, which no user is counted for."""
        await connection.open()
        self.tally.counts["sent"] += 1
        connection.writer.write(b"GET /get HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer guess\r\n\r\n")
        status, fields = await self.first_of_reply(connection, "guess")
        await connection.body(fields)
        if status not in (401, 429):
            raise Lost(f"guess: status {status}")
        self.tally.statuses[status] += 1
        self.tally.counts["answered"] += 1
        if fields.get(b"connection", b"").lower() == b"close":
            connection.close()
