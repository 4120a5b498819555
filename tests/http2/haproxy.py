"""HAProxy as a backend, over HTTP/2 without TLS and over HTTP/1: replies of its own, uploads, idle connections that it closes, its reloads."""

import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import kit
from kit import Proxy, Server, check, free_port

DEFAULTS = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 1s
    timeout http-keep-alive 1s
    timeout server 30s
"""
LISTEN = """
listen %s
    bind 127.0.0.1:%d%s
    http-request return status 200 content-type text/plain string "own" if { path /own }
    http-request return status 413 content-type text/plain string "large" if { path /refused }
    server s 127.0.0.1:%d
"""
RELOADS = 4


def curl(port, path, *args, data=None):
    command = ["curl", "-sS", "-m", "60", "-w", " %{response_code}", f"http://127.0.0.1:{port}{path}", *args]
    done = subprocess.run(command, input=data, capture_output=True)
    return (done.stdout + done.stderr).decode(errors="replace")


def exchanges(name, port):
    body = b"z" * 3_000_000
    for client, options in (("http1", []), ("http2", ["--http2-prior-knowledge"])):
        f = lambda what, want, *args, data=None: check(f"haproxy.{name}.{client}.{what}", (got := curl(port, *args, *options, data=data)) == want, got[-300:])
        f("own", "own 200", "/own")
        f("passed", "ok 200", "/")
        f("large", "x" * (1 << 20) + " 200", "/large")
        f("upload", body.decode() + " 200", "/echo", "--data-binary", "@-", data=body)
        # It answers before it has read the body, and resets the stream or closes the connection.
        f("refused", "large 413", "/refused", "--data-binary", "@-", data=body)
        f("refused_at_once", "large 413", "/refused", "-H", "Expect:", "--data-binary", "@-", data=body)


def idle(name, port):
    """Around the moment at which it closes what is idle."""
    answers = []
    for n in range(5):
        time.sleep(0.98 + n * 0.01)
        answers.append(curl(port, "/echo", "-d", "abc"))
    check(f"haproxy.{name}.idle", set(answers) == {"abc 200"}, answers)


def reloads(name, port, haproxy):
    """Old processes end their connections while requests come all the time."""
    for client, options in (("http1", ["--h1", "-m", "1"]), ("http2", ["-m", "4"])):
        load = subprocess.Popen(["h2load", "-D", "2", "-c", "10", *options, f"http://127.0.0.1:{port}/own"], stdout=subprocess.PIPE, text=True)
        for _ in range(RELOADS):
            time.sleep(0.4)
            haproxy.send_signal(signal.SIGUSR2)
        report = load.communicate(timeout=120)[0]
        codes = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", report)
        failed = re.search(r"(\d+) failed, (\d+) errored", report)
        check(f"haproxy.{name}.reloads.{client}", codes and int(codes[1]) > 100 and failed and failed.groups() == ("0", "0"), report)


def haproxy():
    origin, ports = Server(), {"http2": free_port(), "http1": free_port()}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "haproxy.cfg"
        listens = [LISTEN % (name, port, " proto h2" if name == "http2" else "", origin.server_port) for name, port in ports.items()]
        config.write_text(DEFAULTS + "".join(listens))
        running = subprocess.Popen(["haproxy", "-W", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for name, port in ports.items():
                kit.wait_open(port)
                scheme = "h2c" if name == "http2" else "http"
                with Proxy(backend=f"{scheme}://127.0.0.1:{port}/") as proxy:
                    exchanges(name, proxy.plain)
                    idle(name, proxy.plain)
                    reloads(name, proxy.plain, running)
        finally:
            running.terminate()
            running.wait(10)
            origin.shutdown()


PARTS = [haproxy]
