#!/usr/bin/env python3
"""Runs the book: every config of the pages under docs/ that tell how something is done is loaded, every command run, every promise compared.

    run.py VMAUTH [WORDS]        # WORDS: pages whose path has them

Hosts that configs name become servers on loopback, and ports become free ones; nothing else of a page is changed. How promises are written: pages.py.
Tokens of a page (`json token`) are signed here and must be refused when key, issuer, audience or dates are others. Files of others are read as their programs do it (readers.py). What no
page of these shows is looked for by coverage.py. Needs curl, openssl, nginx, Prometheus, oauth2-proxy and PyYAML, and vmagent beside vmauth: `.ci/book` has them.
"""

import concurrent.futures
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.product import Product  # noqa: E402
from blackbox.report import check, summary, wait_for  # noqa: E402
from book.coverage import unseen  # noqa: E402
from book.names import unknown  # noqa: E402
from book.pages import blocks, commands, promise  # noqa: E402
from book.readers import Pod, grafana  # noqa: E402
from book.servers import Certificate, Key, Nginx, Server, fresh  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("docs/howto/*.md", "docs/providers/*.md", "docs/troubleshooting.md", "docs/reference/migration.md", "docs/reference/vmagent-scraping.md")
DOWN = "vm-down"   # a host of which nothing listens
URL = re.compile(r"\b(https?)://((?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+)(?::(\d+))?(?=[/\"'\s,;}\]]|$)")
LOOPBACK = ("127.0.0.1", "localhost", "vmauth")   # where a page's vmauth is, here or in its cluster
POD = "var/run/secrets/kubernetes.io/serviceaccount"   # files of pods are in the page's folder
KUBECTL = """#!/bin/sh
case $* in
    'create token '*--audience=*) printf %s "$TOKEN" ;;
    *) exit 1 ;;
esac
"""
LISTENS = ("-httpListenAddr", "-httpInternalListenAddr")
# What a reader has before the page's first config.
FIRST_CONFIG = "unauthorized_user: {url_prefix: http://app:8080/}\n"
DEFAULT_START = "vmauth -auth.config=auth.yml"
SUBCOMMANDS = ("lint", "explain", "test", "schema", "-dryRun", "-version")


def listening(program):
    """Ports that the program says it listens at."""
    return [int(port) for port in re.findall(r"started server at https?://127\.0\.0\.1:(\d+)/", program.log())]


def port_of(pid):
    """The port of a program that does not say where it listens, or None."""
    sockets = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"127\.0\.0\.1:(\d+) .*\bpid={pid},", sockets)
    return found and int(found[1])


class Page:
    """A page while it is run, in a folder of its own."""

    def __init__(self, path, binary, shared):
        self.path, self.binary, self.certificate, self.key, self.other_key = path, binary, *shared
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()
        self.folder = Path(tempfile.mkdtemp(prefix="book-"))
        (self.folder / "issuer.pem").write_text(self.key.public)
        (self.folder / "backends-ca.crt").write_bytes(self.certificate.cert.read_bytes())
        for name, path in (("server.crt", self.certificate.cert), ("server.key", self.certificate.key)):   # unless the page makes others
            (self.folder / name).write_bytes(path.read_bytes())
        (self.folder / "bin").mkdir()
        for program in ("vmauth", "vmagent"):
            (self.folder / "bin" / program).symlink_to(Path(binary).resolve().with_name(program))
        (self.folder / "bin/kubectl").write_text(KUBECTL)
        (self.folder / "bin/kubectl").chmod(0o755)
        (self.folder / POD).mkdir(parents=True)
        (self.folder / POD / "ca.crt").write_bytes(self.certificate.cert.read_bytes())
        (self.folder / POD / "token").write_text(self.key.sign({"sub": "the proxy"}))
        (self.folder / "auth.yml").write_text(FIRST_CONFIG)
        self.closed = socket.socket()
        self.closed.bind(("127.0.0.1", 0))   # and never listens
        self.servers, self.ports, self.product, self.start, self.variables = {}, {}, None, DEFAULT_START, {}
        self.claims, self.token, self.issuers, self.ran, self.unchecked = None, "", set(), 0, 0
        self.shown, self.neighbour, self.files = {}, None, {}   # claims of the last token; oauth2-proxy; files that no command has named so far

    def say(self, line, what, passed, detail=""):
        self.ran += 1
        return check(f"{self.name}:{line}: {what.splitlines()[0][:110]}", passed, detail)

    def server(self, name):
        if name not in self.servers:
            self.servers[name] = Server(name, self)
        return self.servers[name]

    def local(self, text):
        """The text with addresses of servers of this test."""
        def replaced(found):
            scheme, host, port = found.groups()
            if host in LOOPBACK and (mapped := self.ports.get(int(port or (443 if scheme == "https" else 80)))):
                return f"{scheme}://{host.replace('vmauth', '127.0.0.1')}:{mapped}"
            return f"{scheme}://127.0.0.1:{self.closed.getsockname()[1]}" if host == DOWN else self.server(found[0]).url
        return URL.sub(replaced, text)

    def as_on_the_page(self, text):
        for server in self.servers.values():
            text = text.replace(server.url, server.name)
        return text

    def environment(self):
        trusted = str(self.certificate.cert)
        ours = {"TOKEN": self.token, "SSL_CERT_FILE": trusted, "CURL_CA_BUNDLE": trusted, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return os.environ | ours | self.variables

    def shell(self, command, *args, **more):
        return subprocess.run(["bash", "-c", command, "-", *args], cwd=self.folder, env=self.environment() | more, capture_output=True, text=True, timeout=300)

    def flags(self):
        """Arguments of the page's start, and the ports that it names, with any free ones in their place."""
        words = shlex.split(self.start)[1:]
        if not any(word.startswith(LISTENS[0] + "=") for word in words):
            words.append(f"{LISTENS[0]}=:8427")
        flags, ports = [], {name: [] for name in LISTENS}
        for word in words:
            name, equals, value = word.partition("=")
            if name in LISTENS:
                ports[name] = [int(address.rpartition(":")[2]) for address in value.split(",") if address]
                value = ",".join(address and "127.0.0.1:0" for address in value.split(","))
            flags.append(name + equals + value.replace(f"/{POD}", POD))
        return flags, [port for name in LISTENS for port in ports[name]]

    def load(self, block):
        self.check_config()
        self.stop()
        self.start, self.ports = DEFAULT_START, {}
        self.issuers = {self.local(issuer) for issuer in re.findall(r"issuer: *[\"']?(https?://[^\s\"'}]+)", block.text)}
        if manifest := re.match(r"# (deploy/\S+\.yaml)\n", block.text):
            text = (ROOT / manifest[1]).read_text()
            self.say(block.line, f"the config of {manifest[1]}", textwrap.indent(block.text[manifest.end():], " " * 4) in text, "the manifest has another one")
        (self.folder / "auth.yml").write_text(self.local(block.text))
        self.unchecked = block.line

    def check_config(self):
        """Loads the last config by itself, unless the page has a command that starts with it."""
        if self.unchecked:
            self.dry_run(self.unchecked, "config")

    def dry_run(self, line, what):
        self.unchecked = 0
        done = self.shell('vmauth "$@"', *self.flags()[0], "-dryRun", "-dryRun.strict")
        self.say(line, what, done.returncode == 0, done.stderr)

    def serve(self):
        if self.product is None:
            self.check_config()
            flags, ports = self.flags()
            self.product = Product(self.binary, flags, self.environment(), self.folder)
            wait_for("listeners", lambda: len(listening(self.product)) == len(ports) or self.product.process.poll() is not None, patience=60)
            self.ports = dict(zip(ports, listening(self.product), strict=True))
            # The first tokens are refused without keys.
            wait_for("keys of the issuers", lambda: len(re.findall("loaded [1-9][0-9]* keys of issuer", self.product.log())) >= len(self.issuers), patience=60)

    def stop(self):
        for running in (self.product, self.neighbour):
            if running is not None:
                running.stop()
        self.product = self.neighbour = None

    def run(self):
        try:
            for block in blocks(self.text):
                self.one(block)
            self.check_config()
            self.expect_token_used()
            if self.files:
                check(self.name, False, f"nobody reads {sorted(self.files)}")
            if not self.ran and self.path.name != "README.md":
                check(self.name, False, "nothing on this page is run")
        except Exception as error:
            check(self.name, False, f"{type(error).__name__}: {error}\n{self.product.log()[-3000:] if self.product else ''}")
        finally:
            self.stop()
            self.closed.close()
            for server in self.servers.values():
                server.stop()
            shutil.rmtree(self.folder)

    def expect_token_used(self):
        if self.claims is not None:
            check(self.name, False, f"no curl sends the token {self.claims}, and is answered 200")

    def one(self, block):
        kind, _, name = block.info.partition(" ")
        if block.info == "yaml":
            self.load(block)
        elif block.info == "json token":
            self.expect_token_used()
            self.claims = self.shown = json.loads(self.local(block.text))
            self.token = self.key.sign(fresh(self.claims))
            self.variables.pop("TOKEN", None)
        elif kind == "sh":
            for line, command, promised in commands(block):
                self.command(line, command, promised)
                self.files = {name: text for name, text in self.files.items() if name not in command}
        elif name == "datasources.yml":
            self.grafana(block)
        elif name == "pod.yml":
            self.pod(block)
        elif name:
            self.files[name] = block.text
            (self.folder / name).write_text(self.local(block.text))
        elif kind not in ("text", ""):
            check(f"{self.name}:{block.line}", False, f"nobody knows blocks of {block.info!r}")

    def command(self, line, command, promised):
        words = command.split()
        if re.match(r"(export )?[A-Z][A-Z0-9_]*=", command):
            names = re.findall(r"\b([A-Z][A-Z0-9_]*)=", command)
            done = self.shell(f"{self.local(command)}\nset -e\nexport {' '.join(names)}; for name in {' '.join(names)}; do printf '%s\\0' \"${{!name}}\"; done")
            self.say(line, command, done.returncode == 0 and all(values := done.stdout.split("\0")[:-1]), done.stderr)
            self.variables |= dict(zip(names, values))
        elif words[0] == "vmauth" and words[1] not in SUBCOMMANDS:
            self.stop()
            self.start, self.ports = command, {}
            self.dry_run(line, command)
        elif words[0] == "nginx":
            self.stop()
            self.product = Nginx(self.folder)
            self.ports = self.product.ports
        elif words[0] == "oauth2-proxy":
            self.oauth2_proxy(line, command)
        elif words[0] == "vmagent":
            self.vmagent(line, command)
        elif words[0] == "prometheus":
            self.prometheus(line, command)
        elif words[0] == "curl":
            self.curl(line, command, promised)
        else:
            done = self.shell(self.local(command))
            wanted = re.match(r"exit (\d+)", promised)
            words_wanted = "" if wanted else promised
            output = self.as_on_the_page(done.stdout + done.stderr)
            self.say(line, command, done.returncode == (int(wanted[1]) if wanted else 0) and words_wanted in output, f"exit code {done.returncode}, want {promised!r}\n{output}")

    def vmagent(self, line, command):
        """The agent's flags are good; when they lead to the proxy that runs, a sample that is pushed to the agent reaches a backend."""
        done = self.shell(f"{self.local(command)} -dryRun")
        self.say(line, command, done.returncode == 0, done.stderr)
        if self.product is None or "127.0.0.1:8427" not in command or self.local(command) == command:
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as queue:
            flags = [*shlex.split(self.local(command))[1:], "-httpListenAddr=127.0.0.1:0", f"-remoteWrite.tmpDataPath={queue}"]
            with self.agent("vmagent", flags) as agent:
                [port] = wait_for("vmagent", lambda: listening(agent), patience=60)
                self.shell(f"curl -sS -d 'book 1' http://127.0.0.1:{port}/api/v1/import/prometheus")
                problem = self.written(agent, 1)
        self.say(line, "a sample of this agent arrives", problem is None, problem)

    def prometheus(self, line, command):
        """Samples of Prometheus arrive by each of the page's two ways."""
        with tempfile.TemporaryDirectory(dir=self.folder) as data:
            flags = [*shlex.split(command)[1:], "--web.listen-address=127.0.0.1:0", f"--storage.tsdb.path={data}"]
            with self.agent(shutil.which("prometheus"), flags) as agent:
                problem = self.written(agent, 2)
        self.say(line, "samples of Prometheus arrive", problem is None, problem)

    def grafana(self, block):
        """What Grafana sends with these data sources is answered, by a backend."""
        self.serve()
        for source, method, url, headers, form in grafana(block.text, self.environment(), self.token):
            for server in self.servers.values():
                server.requests.clear()
            request = urllib.request.Request(self.local(url), form and form.encode(), headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=120) as reply:
                    answer = f"{reply.status}, {reply.read()[:200]}"
            except urllib.error.HTTPError as error:
                answer = f"{error.code}, {error.read()[:200]}"
            got = [url for server in self.servers.values() for url, _ in server.requests]
            self.say(block.line, f"Grafana's {source}: {method} {url}", answer.startswith("200") and len(got) == 1, f"{answer}; backends got {got}")

    def pod(self, block):
        """The agent of this pod writes with the token of its volume, and with the next one when the kubelet has renewed it."""
        self.serve()
        with tempfile.TemporaryDirectory(dir=self.folder) as root:
            pod = Pod(block.text, Path(root), lambda claims: self.key.sign(claims | {"iss": next(iter(self.issuers))}))
            pod.write_tokens(int(time.time()), 1)
            with self.agent("vmagent", [*map(self.local, pod.arguments()), "-httpListenAddr=127.0.0.1:0"]) as agent:
                [port] = wait_for("vmagent", lambda: listening(agent), patience=60)
                for path in pod.probes():
                    self.say(block.line, f"the probe of {path}", "OK" in self.shell(f"curl -sS http://127.0.0.1:{port}{path}").stdout)
                for number in (1, 2):
                    [token] = pod.write_tokens(int(time.time()), number) if number > 1 else pod.tokens
                    problem = self.pushed_with(agent, port, token)
                    if not self.say(block.line, f"the agent of this pod writes with its token, number {number}", problem is None, problem):
                        return

    def pushed_with(self, agent, port, token):
        """What is wrong, or None when a sample that is pushed to the agent reaches a backend with this token."""
        def arrived():
            self.shell(f"curl -sS -d 'book 1' http://127.0.0.1:{port}/api/v1/import/prometheus")
            return [url for server in self.servers.values() for url, headers in server.requests if headers["Authorization"] == f"Bearer {token}"]
        try:
            wait_for("a sample with the token", arrived, patience=120, pause=0.5)
        except TimeoutError as error:
            return f"{error}\n{agent.log()[-2000:]}\n{self.product.log()[-2000:]}"
        return None

    def oauth2_proxy(self, line, command):
        """oauth2-proxy itself, in front of the vmauth that runs; its address becomes a free port."""
        self.serve()
        for name in re.findall(r"--config=(\S+)", command):
            text = self.local(self.files[name])
            [address] = re.findall(r'(?m)^https_address = "(\S+)"$', text)
            (self.folder / name).write_text(text.replace(address, "127.0.0.1:0"))
        self.neighbour = Product("oauth2-proxy", shlex.split(command)[1:], self.environment(), self.folder)
        process = self.neighbour.process
        port = wait_for("oauth2-proxy", lambda: port_of(process.pid) or process.poll() is not None, patience=60)
        if self.say(line, command, process.poll() is None, self.neighbour.log()):
            self.ports[int(address.rpartition(":")[2])] = port

    @contextlib.contextmanager
    def agent(self, program, flags):
        for server in self.servers.values():
            server.requests.clear()
        agent = Product(str(self.folder / "bin" / program), flags, self.environment(), self.folder)
        try:
            yield agent
        finally:
            agent.stop()

    def written(self, agent, tenants):
        """What is wrong, or None when so many tenants have got samples."""
        def urls():
            return {url for server in self.servers.values() for url, _ in server.requests if "/api/v1/write" in url}
        try:
            wait_for("what the agent sends", lambda: len(urls()) >= tenants, patience=120)
        except TimeoutError as error:
            return f"{error}; came: {urls()}\n{agent.log()[-2000:]}"
        return None

    def curl(self, line, command, promised):
        wanted = promise(promised)
        if wanted is None:
            self.say(line, command, False, f"the promise {promised!r} cannot be read")
            return
        self.serve()
        problem = self.asked(command, wanted)
        deadline = time.monotonic() + 30
        while problem and re.search(r":\d+/metrics\b", command) and time.monotonic() < deadline:   # that page may be a second old
            time.sleep(0.2)
            problem = self.asked(command, wanted)
        self.say(line, command, problem is None, problem)
        if self.claims and wanted.status == "200" and "$TOKEN" in command and problem is None:
            self.refused(line, command)
            self.claims = None

    def asked(self, command, wanted, **env):
        """What is wrong with the answer to a curl, or None."""
        for server in self.servers.values():
            server.requests.clear()
        output = self.shell(f"{self.local(command)} -sS -D - --max-time 120", **env)
        text = output.stdout + output.stderr
        statuses = re.findall(r"^HTTP/[\d.]+ (\d{3})", text, re.M)
        if not statuses or statuses[-1] != wanted.status:
            return f"want {wanted.status}, got\n{text[:800]}\n{self.product.log()[-1500:]}"
        if wanted.words and wanted.words not in text:
            return f"no {wanted.words!r} in\n{text[:800]}"
        got = [request for server in self.servers.values() for request in server.requests]
        if not wanted.url:
            return f"a backend got {got[-1][0]}" if got and wanted.status != "200" else None
        fitting = [headers for url, headers in got if url == wanted.url]
        if not fitting:
            return f"want {wanted.url}, backends got {[url for url, _ in got]}"
        for header in wanted.with_headers:
            name, _, value = header.partition(": ")
            if self.local(value) not in (fitting[-1].get_all(name) or []):
                return f"want {header}, got {name}: {fitting[-1].get_all(name)}"
        return next((f"{name} was sent" for name in wanted.without_headers if name in fitting[-1]), None)

    def refused(self, line, command):
        """The token must not be believed under another key or issuer, after its end, or for somebody else."""
        claims = fresh(self.claims)
        bad = {"another key": self.other_key.sign(claims, kid=self.key.kid), "an end that has passed": self.key.sign(claims | {"exp": int(time.time()) - 700})}
        if self.issuers:
            bad["another issuer"] = self.key.sign(claims | {"iss": claims["iss"] + "x"})
        if "audience:" in self.text:
            bad["another audience"] = self.key.sign(claims | {"aud": "somebody-else"})
        for server in self.servers.values():
            server.requests.clear()
        # Side by side, because each is answered after two to three seconds.
        with concurrent.futures.ThreadPoolExecutor(len(bad)) as pool:
            asked = pool.map(lambda token: self.shell(f"{self.local(command)} -sS -o /dev/null -w '%{{http_code}}' --max-time 120", TOKEN=token), bad.values())
            for what, done in zip(bad, asked):
                self.say(line, f"a token with {what} is refused", done.stdout == "401", done.stdout + done.stderr)
        got = [url for server in self.servers.values() for url, _ in server.requests]
        self.say(line, "no backend has seen them", not got, got)


def main():
    binary, words = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    paths = sorted(path for pattern in PAGES for path in ROOT.glob(pattern) if words in str(path))
    for problem in unseen(ROOT, {path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)}):
        check("every block is run", False, problem)
    for path in sorted([*paths, *(path for path in ROOT.glob("docs/*.md") if words in str(path))]):
        missing = list(unknown(path.read_text(), ROOT))
        check(f"{path.relative_to(ROOT)}: flags and metrics are those of the reference", not missing, f"no {missing}")
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        shared = Certificate(Path(folder)), Key(Path(folder), "key-1"), Key(Path(folder), "key-2")
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda path: Page(path, binary, shared).run(), paths))
    return summary("book")


if __name__ == "__main__":
    sys.exit(main())
