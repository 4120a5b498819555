"""What the checks share: results, waiting, an ACME server with its name server, a process of vmauth, and handshakes with it.

Everything listens on 127.0.0.1 and on ports that were free a moment ago. Waiting is polling with a deadline.
"""
import functools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox import ports, report  # noqa: E402
from blackbox.report import check, summary  # noqa: E402, F401
from blackbox.stalls import Stalls  # noqa: E402, F401

wait_for = functools.partial(report.wait_for, patience=120.0)
_taken = set()


def free_port():
    """A port that is free for TCP and UDP: name servers want both."""
    while True:
        port = ports.free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port


class Process:
    """A program with its log; use it in a `with`. `user` is whose process it is, if not ours."""

    ends_with = signal.SIGTERM

    def __init__(self, command, folder, name, environment=None, user=None):
        self.command, self.folder, self.name, self.user = [str(word) for word in command], folder, name, user
        self.environment, self.process = {**os.environ, **(environment or {})}, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()
        if error[0]:
            # Looking for the certificate leaves a line each time.
            log = "\n".join(line for line in self.log().splitlines() if "TLS handshake error" not in line)
            print(f"--- log of {self.name}\n{log[-6000:]}", flush=True)

    def start(self):
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT, user=self.user
            )

    def stop(self, how=None):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how or self.ends_with)
            self.process.wait(timeout=60)

    def log(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def own_certificate(folder):
    """`ca.pem` and `key.pem`, by which an authority's own listener is known."""
    openssl(folder, *"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out ca.pem".split(),
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")


class Authority:
    """Pebble with its name server: every name is at 127.0.0.1. `lifetime` is that of certificates, in seconds."""

    def __init__(self, pebble, lifetime, http_port, tls_port):
        self.folder = Path(tempfile.mkdtemp(prefix="acme-authority-"))
        self.port, self.management = free_port(), free_port()
        dns, self.names_port = free_port(), free_port()
        self.dns = dns
        own_certificate(self.folder)
        config = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": "ca.pem", "privateKey": "key.pem", "httpPort": http_port, "tlsPort": tls_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": False, "certificateValidityPeriod": lifetime,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {
                "default": {"description": "lasts", "validityPeriod": lifetime},
                "brief": {"description": "does not", "validityPeriod": 3600},
            },
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        self.names = Process(
            [pebble + "-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "",
             "-tlsalpn01", "", "-management", f"127.0.0.1:{self.names_port}", "-dns01" if pebble == "pebble" else "-dnsserver",
             f"127.0.0.1:{dns}", *([] if pebble == "pebble" else ["-doh", ""])], self.folder, "names")
        self.server = Process(
            [pebble, "-config", "pebble.json", "-dnsserver", f"127.0.0.1:{dns}"], self.folder, "pebble",
            {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5", "PEBBLE_AUTHZREUSE": "0"})
        self.url = f"https://localhost:{self.port}/dir"

    def __enter__(self):
        self.names.start()
        wait_for("the name server", self.names_are_known)
        self.start()
        return self

    def names_are_known(self):
        """Whether the name server takes questions over TCP, as Pebble asks: validations fail until it does."""
        try:
            socket.create_connection(("127.0.0.1", self.dns), 1).close()
            return True
        except OSError:
            return False

    def point(self, name, address):
        """The name leads there from now on."""
        for what, request in (("clear-a", {"host": name}), ("add-a", {"host": name, "addresses": [address]})):
            urllib.request.urlopen(f"http://127.0.0.1:{self.names_port}/{what}", json.dumps(request).encode(), timeout=60).close()

    def start(self):
        self.server.start()
        wait_for("the authority", lambda: self.ask("/roots/0"))

    def __exit__(self, *error):
        self.server.__exit__(*error)
        self.names.stop()
        shutil.rmtree(self.folder)

    def ask(self, path, body=None):
        """Answer of the management port; None when there is none."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        request = urllib.request.Request(f"https://localhost:{self.management}{path}", data=body)
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as reply:
                return reply.read() or b"ok"
        except OSError:
            return None

    def root(self):
        """The root of what it issues; a new one after each start."""
        path = self.folder / "root.pem"
        path.write_bytes(self.ask("/roots/0"))
        return path


class Vmauth(Process):
    """vmauth with a TLS listener, and a plain one when `http_port` is given."""

    binary = None

    def __init__(self, authority, hosts, tls_port, http_port=None, options=(), cache=None):
        folder = Path(tempfile.mkdtemp(prefix="acme-vmauth-"))
        (folder / "auth.yml").write_text("unauthorized_user:\n  url_prefix: http://127.0.0.1:9/\n")
        self.port, self.metrics_port, self.cache = tls_port, free_port(), cache
        addresses = [f"127.0.0.1:{tls_port}"] + ([f"127.0.0.1:{http_port}"] if http_port else [])
        super().__init__(
            [self.binary, "-auth.config=auth.yml", f"-httpListenAddr={','.join(addresses)}", "-tls=true,false",
             # Of the second position, which has no TLS.
             f"-httpInternalListenAddr=,127.0.0.1:{self.metrics_port}",
             f"-tlsAutocertHosts={','.join(hosts)}", "-tlsAutocertEmail=ops@a.example",
             f"-tlsAutocertDirectoryURL={authority.url}", f"-tlsAutocertCAFile={authority.folder / 'ca.pem'}",
             *([f"-tlsAutocertCacheDir={cache}"] if cache else []), *options], folder, "vmauth")

    def __exit__(self, *error):
        super().__exit__(*error)
        shutil.rmtree(self.folder)

    def metric(self, name):
        """Sum of the series whose name and labels contain all words of `name`."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as reply:
                lines = reply.read().decode().splitlines()
        except OSError:
            return 0.0
        wanted = name.split()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(word in line for word in wanted))

    def shown(self, name, root=None, client_certificate=None):
        """Serial and end of the certificate shown for a name, verified against the root; None when there is none."""
        context = ssl.create_default_context(cafile=root) if root else ssl._create_unverified_context()
        if client_certificate:
            context.load_cert_chain(client_certificate)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
                with context.wrap_socket(plain, server_hostname=name) as stream:
                    certificate = stream.getpeercert()
                    return (certificate["serialNumber"], certificate["notAfter"]) if certificate else ("", "")
        except (OSError, ssl.SSLError):
            return None


def mode(path):
    return oct(os.stat(path).st_mode & 0o777)


def lines(text, pattern):
    return [line for line in text.splitlines() if re.search(pattern, line)]
