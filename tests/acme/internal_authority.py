"""ACMEEH, an ACME server for companies of their own, with PostgreSQL in a folder of its own.

Its certificates live for a day at least. `age` makes one old in the authority's own records, so that its window is over.
"""
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from kit import Process, free_port, openssl, own_certificate, wait_for

HERE = Path(__file__).resolve().parent


class Database(Process):
    """PostgreSQL on a socket in a folder. It does not run as root."""

    ends_with = signal.SIGINT

    def __init__(self, programs):
        folder = Path(tempfile.mkdtemp(prefix="acme-database-"))
        user = "postgres" if os.getuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        self.programs = Path(programs)
        super().__init__(
            [self.programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            folder, "postgres", user=user)
        subprocess.run([self.programs / "initdb", "-D", folder / "data", "-U", "acmeeh", "-A", "trust", "-E", "UTF8", "--no-sync"],
                       cwd=folder, user=user, check=True, capture_output=True)

    def start(self):
        super().start()
        wait_for("the database", lambda: self.run("SELECT 1"))

    def run(self, statement):
        """What a statement printed, or its count; None when it failed."""
        command = [self.programs / "psql", "-X", "-h", self.folder, "-U", "acmeeh", "-d", "postgres", "-At", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None


class InternalAuthority:
    """As `kit.Authority`. `python` is one with the package; `programs` the folder of PostgreSQL's."""

    def __init__(self, python, programs, http_port, tls_port):
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="acme-internal-")), free_port()
        self.database = Database(programs)
        own_certificate(self.folder)
        openssl(self.folder, *"req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Internal -keyout root.key -out root.pem".split())
        every_network = {"port": http_port, "blocked_networks": []}
        config = {
            "server": {"external_url": f"https://localhost:{self.port}"},
            "database": {"host": str(self.database.folder), "database": "postgres", "user": "acmeeh", "sslmode": "disable",
                         "auto_setup": True},
            "ca": {"default_validity_days": 1,
                   "internal": {"root_cert_path": str(self.folder / "root.pem"), "root_key_path": str(self.folder / "root.key")}},
            "acme": {"caa_enforce": False},
            "security": {"rate_limits": {"enabled": False}},
            "challenges": {"enabled": ["http-01", "tls-alpn-01"], "http01": every_network, "tlsalpn01": {"port": tls_port, "max_retries": 0}},
            "ari": {"enabled": True}, "notifications": {"enabled": False}, "logging": {"format": "human"},
        }
        (self.folder / "acmeeh.json").write_text(json.dumps(config))
        self.server = Process([python, HERE / "serve_acmeeh.py", "acmeeh.json", "ca.pem", "key.pem", self.port], self.folder, "acmeeh")
        self.url = f"https://localhost:{self.port}/directory"

    def __enter__(self):
        try:
            self.database.start()
            self.server.start()
            wait_for("the authority", self.answers)
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)
        self.database.__exit__(*error)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.database.folder, ignore_errors=True)

    def answers(self):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        try:
            with urllib.request.urlopen(self.url, context=context, timeout=30) as reply:
                return reply.read()
        except OSError:
            if self.server.process.poll() is not None:
                raise RuntimeError(f"ACMEEH has ended:\n{self.server.log()[-3000:]}") from None
            return None

    def root(self):
        return self.folder / "root.pem"

    def age(self):
        """Makes what was issued ten days old, in the authority's records."""
        return self.database.run(
            "UPDATE certificates SET not_before_cert = now() - interval '10 days', not_after_cert = now() - interval '9 days'")
