#!/usr/bin/env python3
"""Agents of both makes through our proxy: interop.py DEVSTACK [VMAGENT]. VMAGENT is upstream's, by default Debian's.

Each goes through the same faults of devstack and must lose no sample: all scrapes of a target are in the store, a second apart.
"""
import json, re, shutil, subprocess, sys, time, urllib.parse, urllib.request

PARTS = ("provider", "vmauth", "vmagent", "store")


class Devstack:
    def __init__(self, binary, *flags):
        flags = ["-httpListenAddr=127.0.0.1:0", "-tokenLifetime=13s", *(f"-{part}Addr=127.0.0.1:0" for part in PARTS), *flags]
        self.started = time.monotonic()
        self.process = subprocess.Popen([binary, *flags], stdout=subprocess.PIPE, text=True)
        found = (re.match(r"  page +(http://\S+?)/?$", line) for line in self.process.stdout)
        self.page = next((match for match in found if match)).group(1)

    def get(self, path, **args):
        with urllib.request.urlopen(f"{self.page}{path}?{urllib.parse.urlencode(args)}", timeout=60) as reply:
            return json.load(reply)

    def figures(self):
        return self.get("/api/state")["figures"]

    def fault(self, name, on):
        urllib.request.urlopen(urllib.request.Request(f"{self.page}/api/fault/{name}?on={int(on)}", method="POST"), timeout=60).close()

    def ups(self):
        """Times of the samples of `up`, in milliseconds, by instance, from all tenants."""
        ups = {}
        for tenant in self.figures()["store"]["tenants"]:
            found = self.get(f"/select/{tenant['tenant']}/prometheus/api/v1/query", query='up{job="stat"}[10m]')
            for series in found["data"]["result"]:
                ups.setdefault(series["metric"]["instance"], set()).update(round(at * 1000) for at, _ in series["values"])
        return {instance: sorted(times) for instance, times in ups.items()}

    def wait(self, condition, limit=90):
        """Whether it comes true in time."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def fresh(self, after_ms):
        ups = self.ups()
        return len(ups) == 2 and all(times[-1] > after_ms for times in ups.values())

    def scraped(self):
        """How many scrapes the agent has ended, by its own count: it is one of the two targets."""
        for instance in self.ups():
            with urllib.request.urlopen(f"http://{instance}/metrics", timeout=60) as reply:
                if found := re.search(r"^vm_promscrape_scrape_duration_seconds_count (\S+)$", reply.read().decode(), re.M):
                    return float(found[1])
        raise RuntimeError("no target counts scrapes")

    def lost(self, scraped, until_ms):
        """Gaps that are no scrapes which a busy machine has put off: then fewer samples are stored than were made. Two may be on their way."""
        gaps = self.gaps()
        stored = sum(time_ms <= until_ms for times in self.ups().values() for time_ms in times)
        return gaps if stored < scraped - 2 else []

    def gaps(self):
        return [(instance, before, after) for instance, times in self.ups().items() for before, after in zip(times, times[1:]) if after - before > 1500]

    def end(self):
        self.process.terminate()
        return self.process.wait(60)


def now_ms():
    return time.time() * 1000


def scenarios(stack):
    """Names and results."""
    yield "samples of both targets arrive", stack.wait(lambda: stack.fresh(now_ms() - 3000))
    requests = stack.figures()["provider"]
    # One each three seconds: a token is replaced ten of its thirteen before its end.
    most = (time.monotonic() - stack.started) / 3 + 2
    yield "by few tokens", 1 <= requests["tokens"] <= most and requests["refused"] == 0
    for fault, enough in (
        ("store-down", lambda: stack.figures()["proxy"]["refusals"].get("backend", 0) > 0),
        ("provider-down", lambda: now_ms() - max(times[-1] for times in stack.ups().values()) > 4000),
        ("proxy-down", lambda: now_ms() - max(times[-1] for times in stack.ups().values()) > 2000),
    ):
        stack.fault(fault, True)
        seen = stack.wait(enough)
        stack.fault(fault, False)
        back = now_ms()
        yield f"{fault} is felt and survived", seen and stack.wait(lambda: stack.fresh(back))
    key = stack.figures()["provider"]["key_id"]
    stack.fault("rotate-key", True)
    tokens = stack.figures()["provider"]["tokens"]
    yield "a token by a new key is taken", stack.wait(lambda: stack.figures()["provider"]["tokens"] > tokens) and stack.wait(lambda: stack.fresh(now_ms() - 3000)) and key != stack.figures()["provider"]["key_id"]
    stack.fault("wrong-tenant", True)
    yield "the tenant changes with the token", stack.wait(lambda: any(own["tenant"] == "1:2" for own in stack.figures()["store"]["tenants"]))
    # Blocks that were tried in an outage may come later than younger ones.
    scraped, until = stack.scraped(), now_ms()
    yield "no sample is missing", stack.wait(lambda: not stack.lost(scraped, until))
    yield "nothing was dropped", stack.figures()["agent"]["dropped"] == 0


def main():
    binary = sys.argv[1]
    other = sys.argv[2] if len(sys.argv) > 2 else shutil.which("vmagent")
    if not other:
        raise SystemExit("there is no vmagent of upstream: install Debian's victoria-metrics, or name one")
    passed = failed = 0
    for name, flags in (("our agent", ()), ("upstream's agent", (f"-vmagentBinary={other}",))):
        stack = Devstack(binary, *flags)
        try:
            for what, good in scenarios(stack):
                passed, failed = passed + bool(good), failed + (not good)
                print(f"{'ok  ' if good else 'FAIL'} {name}: {what}" + ("" if good else f": {stack.figures()} {stack.gaps()}"))
        finally:
            code = stack.end()
        passed, failed = passed + (code == 0), failed + (code != 0)
        print(f"{'ok  ' if code == 0 else 'FAIL'} {name}: the end, {code}")
    print(f"devstack interop: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
