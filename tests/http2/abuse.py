"""Clients who mean harm. For each pattern: it is ended or bounded, others are served meanwhile, and what it cost in memory and CPU."""

import struct
import threading
import time

import kit
from kit import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY, PROTOCOL_ERROR, RST_STREAM,
                 SETTINGS, WINDOW_UPDATE, Proxy, Raw, check, frame, head, integer, literal)

MIB = 1 << 20
INITIAL_WINDOW = 0x4


class Watch:
    """Another client, asking all the time: how long it had to wait at most, and what the process took meanwhile."""

    def __init__(self, proxy, name, memory, cpu=5.0):
        self.proxy, self.name, self.most_memory, self.most_cpu = proxy, name, memory, cpu
        self.slowest, self.peak, self.failed, self.done = 0.0, 0, 0, threading.Event()

    def __enter__(self):
        self.memory, self.cpu = self.proxy.memory(), self.proxy.cpu()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()
        return self

    def ask(self):
        client, stream = None, 1
        ended = False
        while not ended:
            begun = time.monotonic()
            try:
                client = client or Raw(self.proxy.plain)
                client.send(client.request(stream))
                found = client.frames_until(DATA, stream, 20)[-1]
                self.failed += found is None
                stream += 2
            except (OSError, TimeoutError):
                self.failed, client, stream = self.failed + 1, None, 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.peak = max(self.peak, self.proxy.memory())
            # At least once after what was done: the process must have survived it.
            ended = self.done.is_set()
            time.sleep(0.02)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        grown, cpu = max(self.peak, self.proxy.memory()) - self.memory, self.proxy.cpu() - self.cpu
        kit.note(f"{self.name}: {grown / MIB:.1f} MiB more, {cpu:.2f} s of CPU, others waited {self.slowest * 1000:.0f} ms at most")
        check(f"abuse.{self.name}.memory", grown < self.most_memory, f"{grown / MIB:.1f} MiB")
        check(f"abuse.{self.name}.cpu", cpu < self.most_cpu, f"{cpu:.2f} s")
        check(f"abuse.{self.name}.others", not self.failed, f"{self.failed} failed")


def flood(proxy, name, pieces, want=(ENHANCE_YOUR_CALM,), memory=16 * MIB, settings=()):
    """Sends the pieces until the connection ends, which it must before the last; says how many were taken."""
    with Watch(proxy, name, memory):
        client = Raw(proxy.plain, settings)
        ended = {}
        reader = threading.Thread(target=lambda: ended.update(how=client.ending()))
        reader.start()
        sent = 0
        for piece in pieces:
            if not reader.is_alive() or not client.send(piece):
                break
            sent += 1
        reader.join()
        client.close()
    check(f"abuse.{name}", ended.get("how") in want, f"{ended.get('how')} after {sent} pieces")


def floods():
    """Frames that cost work and ask for nothing."""
    with Proxy() as proxy:
        many = range(1, 400_001, 2)
        opened = lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream, head(b"/never"))
        f = lambda name, make, streams=many, **more: flood(proxy, name, (make(n) for n in streams), **more)
        f("rapid_reset", lambda n: opened(n) + frame(RST_STREAM, stream=n, payload=b"\0\0\0\x08"), memory=48 * MIB)
        f("rapid_reset_in_packets", lambda n: (time.sleep(0.0005), opened(n) + frame(RST_STREAM, stream=n, payload=b"\0\0\0\x08"))[1],
          memory=48 * MIB)
        f("made_you_reset", lambda n: opened(n) + frame(WINDOW_UPDATE, stream=n, payload=b"\0\0\0\0"), memory=48 * MIB,
          want=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR))
        f("made_you_reset_by_data", lambda n: opened(n) + frame(DATA, stream=n, payload=b"x"), memory=48 * MIB,
          want=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, 0x5))
        f("refused_streams", lambda n: opened(n), memory=48 * MIB)
        f("pings", lambda n: frame(PING, payload=b"12345678") * 10)
        f("settings", lambda n: frame(SETTINGS, payload=struct.pack(">HI", 0x3, n)) * 10)
        f("priorities", lambda n: frame(PRIORITY, stream=n, payload=b"\0\0\0\0\x10") * 10)
        f("window_updates", lambda n: frame(WINDOW_UPDATE, payload=b"\0\0\0\x01") * 10)
        f("unknown_frames", lambda n: frame(0x42) * 10)
        f("pings_of_replies", lambda n: frame(PING, ACK, payload=b"12345678") * 10)
        body = frame(HEADERS, END_HEADERS, 1, head(b"/sink", b"POST"))
        f("empty_data", lambda n: (body if n == 1 else b"") + frame(DATA, stream=1) * 10)
        ended = metric(proxy, 'vm_http_malformed_requests_total{reason="protocol"}')
        check("abuse.floods.counted", ended >= 12, ended)
        f("small_data", lambda n: (body if n == 1 else b"") + frame(DATA, stream=1, payload=b"x") * 10, want=(ENHANCE_YOUR_CALM, 0x3),
          memory=64 * MIB)


def header_blocks():
    """Heads that do not end, and heads that are larger than they look."""
    with Proxy() as proxy:
        begin = frame(HEADERS, 0, 1, head())
        flood(proxy, "continuations", (begin if n == 0 else frame(CONTINUATION, 0, 1, b"") for n in range(100_000)))
        large = literal(b"x-more", b"y" * 16_000)
        flood(proxy, "large_continuations", (begin if n == 0 else frame(CONTINUATION, 0, 1, large) for n in range(100_000)),
              want=(ENHANCE_YOUR_CALM, 0x9))
        # One field of four kilobytes in the table, then a byte each for thousands of it.
        bomb = head() + literal(b"x-bomb", b"y" * 4000, 0x40) + integer(62, 7, 0x80) * 16_000
        flood(proxy, "hpack_bomb", (frame(HEADERS, END_HEADERS | END_STREAM, n, bomb[:16_384] if n == 1 else head() + integer(62, 7, 0x80) * 16_000)
                                    for n in range(1, 2000, 2)))
        with Watch(proxy, "cookie_crumbs", 32 * MIB):
            client = Raw(proxy.plain)
            crumb = literal(b"cookie", b"", 0x40)
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, head() + crumb + integer(62, 7, 0x80) * 1500))
            statuses = {client.status(1)}
            for stream in range(3, 201, 2):
                client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, head() + integer(62, 7, 0x80) * 1500))
                statuses.add(client.status(stream))
            check("abuse.cookie_crumbs", statuses == {"431"}, statuses)
        with Watch(proxy, "open_blocks", 100 * MIB):
            clients = [Raw(proxy.plain) for _ in range(300)]
            fields = head() + literal(b"a", b"", 0x40) + integer(62, 7, 0x80) * 1800
            for client in clients:
                client.send(frame(HEADERS, 0, 1, fields))
            endings = [client.ending() for client in clients]
            check("abuse.open_blocks", set(endings) <= {ENHANCE_YOUR_CALM, "closed"}, set(endings))


def windows():
    """Replies that are not taken, and bodies that nobody reads."""
    with Proxy("-http.writeTimeout=2s") as proxy:
        with Watch(proxy, "zero_windows", 100 * MIB):
            client = Raw(proxy.plain, [(INITIAL_WINDOW, 0)])
            client.send(b"".join(client.request(n, b"/large") for n in range(1, 200, 2)))
            resets = set()
            until = time.monotonic() + 60
            while len(resets) < 100 and time.monotonic() < until:
                found = client.next_frame()
                if found is None:
                    break
                if found[0] == RST_STREAM:
                    resets.add(found[2])
            check("abuse.zero_windows", len(resets) == 100, len(resets))
        with Watch(proxy, "nothing_is_read", 64 * MIB):
            client = Raw(proxy.plain, [(INITIAL_WINDOW, (1 << 31) - 1)])
            client.send(frame(WINDOW_UPDATE, payload=struct.pack(">I", (1 << 31) - 1 - 65535)))
            client.send(b"".join(client.request(n, b"/large") for n in range(1, 200, 2)))
            time.sleep(4)
            held = lambda: metric(proxy, "vmauth_unauthorized_user_concurrent_requests_current")
            kit.wait_for("the end of what takes nothing", lambda: held() <= 1)
            check("abuse.nothing_is_read", True)
            client.close()
        with Watch(proxy, "stuck_uploads", 100 * MIB):
            clients = [Raw(proxy.plain) for _ in range(50)]
            for client in clients:
                client.send(frame(HEADERS, END_HEADERS, 1, head(b"/sink", b"POST")))
                client.send(frame(DATA, stream=1, payload=b"z" * 16_000) * 16)
            time.sleep(2)
            [client.close() for client in clients]


def metric(proxy, name):
    client = Raw(proxy.plain)
    client.send(client.request(1, b"/metrics"))
    text = b""
    while found := client.next_frame():
        if found[0] == DATA:
            text += found[3]
            more = struct.pack(">I", max(len(found[3]), 1))
            client.send(frame(WINDOW_UPDATE, payload=more) + frame(WINDOW_UPDATE, stream=1, payload=more))
        if found[0] in (DATA, HEADERS) and found[1] & END_STREAM:
            break
    return next(float(line.split()[-1]) for line in text.decode().splitlines() if line.startswith(name))


def refusals():
    """What HTTP/2 forbids, and what two servers might read differently: refused, whether with a status or a reset."""
    with Proxy() as proxy:
        for fields in ([(b"connection", b"close")], [(b"te", b"gzip")], [(b"transfer-encoding", b"chunked")], [(b"upgrade", b"x")],
                       [(b"proxy-connection", b"x")], [(b"keep-alive", b"x")], [(b"X-Upper", b"x")], [(b"x y", b"z")], [(b"x-lf", b"a\nb")],
                       [(b"x-nul", b"a\0b")], [(b"content-length", b"+0")], [(b"content-length", b"5")], [(b"host", b"other")],
                       [(b"host", b"front"), (b"host", b"front")], [(b"content-length", b"0"), (b"content-length", b"1")],
                       [(b":authority", b"two")], [(b":unknown", b"x")], [(b"expect", b"x")]):
            client = Raw(proxy.plain)
            client.send(client.request(1, b"/echo", fields=fields))
            while (found := client.next_frame()) and found[2] != 1 and found[0] != GOAWAY:
                pass
            status = dict(client.fields.decode(found[3])).get(":status") if found and found[0] == HEADERS else None
            check(f"abuse.refusals {fields}", not found or found[0] in (RST_STREAM, GOAWAY) or status in ("400", "417"), (found, status))


PARTS = (refusals, floods, header_blocks, windows)
