#!/usr/bin/env python3
"""A soak: mixed traffic through a real vmauth while everything around it fails, and an account at the end.

    soak.py [--bin target/release/vmauth] [--minutes 10]

GET, POST in both framings, TLS, tokens, slow readers, upgrades, wrong passwords, clients that leave; the config is reloaded every second (one
in ten is invalid), certificates are replaced, backends refuse, reset, stall, cut replies and answer 503, the identity provider fails.

It passes if every reply belongs to its request, whole and unchanged; if what was sent is what was answered plus what was cut on purpose, by the
counters of the clients, the proxy and the backends; if descriptors, threads and memory are back at the base line; and if the log holds
nothing unexpected. Needs Linux, Python 3.11 and openssl; opens only loopback ports that the system picks.
"""
import argparse, asyncio, os, random, re, shutil, signal, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests/conformance")]

from kit.tokens import jwks, mint  # noqa: E402
from soak.clients import Clients, Tally  # noqa: E402
from soak.peers import FAULTS, Backend, Provider  # noqa: E402

RSS_GROWTH = 24  # MiB over the base line that stay in the allocator's hands
FLAGS = (
    "-workers=2", "-failTimeout=500ms", "-responseTimeout=2s", "-idleConnTimeout=2s", "-http.connTimeout=20s", "-http.idleConnTimeout=5s",
    "-maxConcurrentPerUserRequests=1000", "-loggerWarnsPerSecondLimit=50", "-tls=false,true",
)
CONFIG = """
users:
- username: alice
  password: secret
  retry_status_codes: [503]
  headers: ["X-Generation: {generation}"]
  url_map:
  - {{src_paths: ["/ws", "/hold"], url_prefix: "http://127.0.0.1:{holder}/"}}
  url_prefix: {backends}
- jwt: {{oidc: {{issuer: "{issuer}"}}, default_vm_access_claim: {{}}}}
  name: token
  retry_status_codes: [503]
  url_prefix: {backends}
{more}
"""


class Proxy:
    """vmauth with its folder, its log and its pages."""

    keys = ROOT / "tests/conformance/keys"

    def __init__(self, binary, folder):
        self.binary, self.folder, self.log, self.process = binary, folder, folder / "log", None

    def write(self, name, text):
        (self.folder / "next").write_text(text)
        os.replace(self.folder / "next", self.folder / name)

    def certificate(self, name):
        for ending in ("key", "crt"):
            shutil.copy(self.keys / f"{name}.{ending}", self.folder / f"next.{ending}")
        for ending in ("key", "crt"):
            os.replace(self.folder / f"next.{ending}", self.folder / f"server.{ending}")

    def start(self):
        files = [f"-tlsCertFile=,{self.folder}/server.crt", f"-tlsKeyFile=,{self.folder}/server.key"]
        listen = ["-httpListenAddr=127.0.0.1:0,127.0.0.1:0", "-httpInternalListenAddr=127.0.0.1:0"]
        command = [self.binary, f"-auth.config={self.folder}/auth.yml", *listen, *files, *FLAGS]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log.open("w"))
        end = time.monotonic() + 20
        while len(found := re.findall(r"started server at (https?)://127\.0\.0\.1:(\d+)/", self.log.read_text())) < 3:
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"vmauth does not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        plain = [("127.0.0.1", int(port)) for scheme, port in found if scheme == "http"]
        self.tls_address = next(("127.0.0.1", int(port)) for scheme, port in found if scheme == "https")
        # The internal listener is the one that knows /metrics.
        self.internal = next(address for address in plain if self.page(address, "/health") == "OK")
        self.address = next(address for address in plain if address != self.internal)

    def page(self, address, path):
        try:
            with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=5) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError:
            return ""

    def metric(self, name):
        lines = (line.rpartition(" ") for line in self.page(self.internal, "/metrics").splitlines())
        return sum(float(value) for series, _, value in lines if series == name or series.startswith(name + "{"))

    def resources(self):
        """(descriptors, threads, MiB resident)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        threads, rss = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("Threads", "VmRSS"))
        return len(os.listdir(f"/proc/{self.process.pid}/fd")), threads, rss / 1024


class Soak:
    def __init__(self, proxy):
        self.proxy, self.tally = proxy, Tally()
        self.backends, self.holder = [Backend(name) for name in "abc"], Backend("holder")
        self.provider = Provider(jwks("rsa1/k/RS256/sig"))
        self.generation = self.reloads = self.bad_reloads = self.faults = 0

    async def run(self, minutes):
        for peer in (*self.backends, self.holder, self.provider):
            await peer.start()
        self.proxy.certificate("server1")
        self.proxy.write("auth.yml", self.config())
        await asyncio.to_thread(self.proxy.start)
        claims = f'{{"iss": "{self.provider.issuer}", "exp": {int(time.time()) + 7200}}}'
        self.clients = Clients(self.proxy, self.tally, self.backends, self.holder, mint({"claims": claims, "header": '{"alg":"RS256","kid":"k"}'}))
        await self.traffic(10, [])
        base = await self.quiet(None)
        print(f"base line after {self.tally.counts['sent']} requests: {base[0]} descriptors, {base[1]} threads, {base[2]:.1f} MiB", flush=True)
        await self.traffic(minutes * 60, [self.reload, self.fail_backends, self.fail_provider, self.replace_certificates])
        end = await self.quiet(base)
        return self.account(base, end)

    async def traffic(self, seconds, disturbers):
        """Clients of all kinds, and what disturbs them, for so long; then everything is in order again."""
        done = asyncio.Event()
        clients = [asyncio.create_task(self.clients.run(kind, done)) for _, kind, number in self.clients.kinds() for _ in range(number)]
        others = [asyncio.create_task(disturber(done)) for disturber in disturbers]
        await asyncio.sleep(seconds)
        done.set()
        await asyncio.gather(*clients, *others)

    async def quiet(self, base):
        """Resources when all connections are closed; waits until they are not above the base line, for 30 seconds at most."""
        for _ in range(60):
            await asyncio.sleep(0.5)
            now = self.proxy.resources()
            idle = await asyncio.to_thread(self.proxy.metric, "vmauth_backend_conns") == 0
            if idle and (base is None or not self.above(base, now)):
                break
        return now

    def above(self, base, now):
        # Threads that read files come when two are read at once, and go when they are idle for ten seconds: a few, whatever the length of the run.
        limits = {"descriptors": base[0], "threads": base[1] + 2, "MiB": base[2] * 1.2 + RSS_GROWTH}
        return [f"{have:.0f} {what}, at most {limit:.0f} are expected" for (what, limit), have in zip(limits.items(), now) if have > limit]

    def config(self, broken=False):
        self.generation += 1
        urls = ", ".join(f'"http://127.0.0.1:{backend.port}/"' for backend in self.backends)
        more = "".join(f"- {{username: more{n}, password: x, url_prefix: [{urls}]}}\n" for n in range(self.generation % 7 * 20))
        fields = {"generation": self.generation, "holder": self.holder.port, "issuer": self.provider.issuer, "more": more}
        return CONFIG.format(backends=f"[{urls}]", **fields) + ("- oops: 1\n" if broken else "")

    async def reload(self, done):
        while not await wait(done, 1):
            broken = self.reloads % 10 == 9
            self.bad_reloads += broken
            self.reloads += 1
            self.proxy.write("auth.yml", self.config(broken))
            self.proxy.process.send_signal(signal.SIGHUP)

    async def fail_backends(self, done):
        while not await wait(done, 1):
            self.faults += 1
            fault = FAULTS[self.faults % len(FAULTS)]
            victims = self.backends if self.faults % 4 == 0 else random.sample(self.backends, random.choice((1, 1, 2)))
            await asyncio.gather(*(backend.set_mode(fault) for backend in victims))
            await wait(done, 1.5)
            await asyncio.gather(*(backend.set_mode("ok") for backend in victims))

    async def fail_provider(self, done):
        while not await wait(done, 4):
            self.provider.mode = random.choice(("error", "stall", "close"))
            await wait(done, 4)
            self.provider.mode = "ok"

    async def replace_certificates(self, done):
        number = 1
        while not await wait(done, 3):
            number = 3 - number
            self.proxy.certificate(f"server{number}")

    def account(self, base, end):
        """Every check as (text, whether it holds)."""
        counts, statuses, proxy = self.tally.counts, self.tally.statuses, self.proxy
        ended = counts["answered"] + counts["cut by a backend"] + counts["cut by the client"] + counts["lost"]
        yield f"sent {counts['sent']} = answered {counts['answered']} + cut by backends {counts['cut by a backend']} + cut by clients {counts['cut by the client']}", ended == counts["sent"] and not counts["lost"]
        for failure in self.tally.failures:
            yield failure, False
        users = proxy.metric("vmauth_user_requests_total")
        yield f"the proxy counts {users:.0f} requests of users, the clients sent {self.tally.authorised}", users == self.tally.authorised
        errors, failed = proxy.metric("vmauth_user_request_errors_total"), statuses[502] + statuses[503] + counts["cut by a backend"]
        yield f"the proxy counts {errors:.0f} failed requests, the clients saw {failed}", errors == failed
        heads, tries = sum(backend.heads for backend in (*self.backends, self.holder)), proxy.metric("vmauth_user_request_backend_requests_total")
        bad_tries = proxy.metric("vmauth_user_request_backend_errors_total")
        yield f"the backends read {heads} requests, the proxy tried {tries:.0f} times, {bad_tries:.0f} in vain", heads <= tries
        gone = proxy.metric('vmauth_http_request_errors_total{reason="client_canceled"}')
        yield f"the proxy counts {gone:.0f} clients that left, {self.tally.left} did, {self.tally.left_backend} of them when a backend was at work", self.tally.left_backend <= gone <= self.tally.left
        busy = proxy.metric("vmauth_concurrent_requests_current") + proxy.metric("vmauth_user_concurrent_requests_current")
        yield f"{busy:.0f} slots are taken, {sum(not clean for clean in self.twice())} requests came twice without a reason", busy == 0 and all(self.twice())
        reloads, bad = proxy.metric("vmauth_config_last_reload_total"), proxy.metric("vmauth_config_last_reload_errors_total")
        yield f"{self.reloads} reloads were asked for, {reloads:.0f} made (signals may be joined); {self.bad_reloads} of them bad, {bad:.0f} refused", 0.8 * self.reloads <= reloads <= self.reloads and 0 < bad <= self.bad_reloads
        kinds = all(statuses[status] for status in (200, 401, 502)) and counts["cut by a backend"] and self.provider.requests > 5
        yield f"all kinds of ends were met: {dict(statuses)}, {self.faults} faults, {self.provider.requests} requests to the provider", kinds
        yield f"at the end {end[0]} descriptors, {end[1]} threads, {end[2]:.1f} MiB {self.above(base, end) or ''}", not self.above(base, end)
        yield from self.stop()

    def twice(self):
        """For each request that backends read more than once: whether one of them gave a reason."""
        seen = {}
        for backend in self.backends:
            for number, times in backend.seen.items():
                seen[number] = seen.get(number, 0) + times
        return [any(number in backend.harmed for backend in self.backends) for number, times in seen.items() if times > 1]

    def stop(self):
        self.proxy.process.send_signal(signal.SIGTERM)
        try:
            code = self.proxy.process.wait(15)
        except subprocess.TimeoutExpired:
            code = "none"
        yield f"exit code {code} after SIGTERM", code == 0
        log = self.proxy.log.read_text()
        odd = [line for line in log.splitlines() if "\tpanic\t" in line or "panicked at" in line or ("\tfatal\t" in line)]
        yield f"{log.count(chr(10))} lines of log, {len(odd)} of them of a panic {odd[:3] or ''}", not odd


async def wait(event, seconds):
    """Waits; says whether the event happened."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
        return True
    except TimeoutError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=str(ROOT / "target/release/vmauth"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    args = parser.parse_args()
    random.seed(args.seed)
    print(f"seed {args.seed}, {args.minutes} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(os.path.abspath(args.bin), Path(folder))
        try:
            checks = [(text, good) for text, good in asyncio.run(Soak(proxy).run(args.minutes))]
        finally:
            if proxy.process and proxy.process.poll() is None:
                proxy.process.kill()
        failed = sum(not good for _, good in checks)
        if failed:
            shutil.copy(proxy.log, "soak-failure.log")
    for text, good in checks:
        print(f"{'ok  ' if good else 'FAIL'} {text}")
    print(f"soak: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
