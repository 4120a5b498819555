"""Wildcards, mapped addresses and zones of listeners mean what they mean for Go programs."""

import socket

from kit import PORT, Vmauth, check, exchange, status

HEALTH = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def reached(host):
    try:
        return status(exchange(HEALTH, (host, PORT), 20)) == 200
    except OSError:
        return False


def run():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            print("note  addresses: skipped, there is no IPv6 here", flush=True)
            return
    four, six = "127.0.0.1", "::1"
    cases = (
        ((f"-httpListenAddr=:{PORT}",), (four,), (six,)),
        ((f"-httpListenAddr=:{PORT}", "-enableTCP6"), (four, six), ()),
        ((f"-httpListenAddr=[::]:{PORT}",), (four,), (six,)),
        ((f"-httpListenAddr=[::]:{PORT}", "-enableTCP6"), (four, six), ()),
        ((f"-httpListenAddr=0.0.0.0:{PORT}", "-enableTCP6"), (four, six), ()),
        ((f"-httpListenAddr=0.0.0.0:{PORT}",), (four,), (six,)),
        ((f"-httpListenAddr=[::ffff:127.0.0.1]:{PORT}",), (four,), (six,)),
        ((f"-httpListenAddr=[::1]:{PORT}", "-enableTCP6"), (six,), (four,)),
        ((f"-httpListenAddr=[::1%lo]:{PORT}", "-enableTCP6"), (six,), (four,)),
        ((f"-httpListenAddr=localhost:{PORT}",), (four,), (six,)),
    )
    for flags, open_at, closed_at in cases:
        with Vmauth("{}\n", *flags) as vmauth:
            wrong = [host for host in open_at if not reached(host)] + [host for host in closed_at if reached(host)]
            check(f"addresses: {' '.join(flags)} serves {', '.join(open_at)} alone", not wrong, f"wrong for {wrong}; {vmauth.troubles()}")
