#!/usr/bin/env python3
"""Counts the user instructions of a small GET through vmauth: over one connection, and with a connection for each request.

One worker under callgrind, a backend that keeps its connection, one request after another; the figure is the difference of two runs
with different numbers of requests, divided by the difference of the numbers. It does not depend on the load of the machine. With one
request at a time each of them pays for its own wake-ups, which requests under load share.

usage: request_instructions.py [--bin target/release/vmauth] [--keep FOLDER]

Needs valgrind. --keep leaves callgrind's files in a folder, for callgrind_annotate.
"""
import argparse, base64, re, socket, subprocess, tempfile, threading, time
from pathlib import Path

FEW, MANY = 300, 1300
BODY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
REPLY = (b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 22:00:00 GMT\r\nContent-Type: text/plain\r\n"
         b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s" % (len(BODY), BODY))
REQUEST = (b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: 127.0.0.1:8427\r\nAuthorization: Basic %s\r\n%%s\r\n"
           % base64.b64encode(b"foo:bar"))


def bound():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def answer(connection):
    received = b""
    while data := connection.recv(65536):
        received += data
        while b"\r\n\r\n" in received:
            received = received.partition(b"\r\n\r\n")[2]
            connection.sendall(REPLY)


def backend():
    listener = bound()
    listener.listen(64)

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def ask(connection, line):
    connection.sendall(REQUEST % line)
    received = b""
    while not received.endswith(BODY):
        data = connection.recv(65536)
        if not data:
            raise SystemExit(f"no whole reply: {received!r}")
        received += data


def connect(port, process):
    while process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit(f"vmauth has ended:\n{process.stderr.read()[-2000:]}")


def instructions(binary, folder, renews, count):
    config = folder / "auth.yml"
    config.write_text(f"users:\n- username: foo\n  password: bar\n  url_prefix: http://127.0.0.1:{backend()}/\n")
    with bound() as free:
        port = free.getsockname()[1]
    out = folder / f"callgrind.{'new' if renews else 'kept'}.{count}"
    process = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, f"-auth.config={config}",
         f"-httpListenAddr=127.0.0.1:{port}", "-workers=1", "-loggerLevel=ERROR"], stderr=subprocess.PIPE, text=True)
    with connect(port, process) as kept:
        ask(kept, b"")
        for _ in range(count):
            if not renews:
                ask(kept, b"")
                continue
            with socket.create_connection(("127.0.0.1", port)) as connection:
                ask(connection, b"Connection: close\r\n")
                connection.recv(1)
    process.terminate()
    errors = process.communicate()[1]
    return int(re.search(r"Collected : (\d+)", errors)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release/vmauth")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        for name, renews in (("over one connection", False), ("with a connection each", True)):
            few, many = (instructions(args.bin, folder, renews, count) for count in (FEW, MANY))
            print(f"{(many - few) / (MANY - FEW):8.0f} instructions a request {name}", flush=True)


if __name__ == "__main__":
    main()
