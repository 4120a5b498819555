#!/usr/bin/env python3
"""Certificates by ACME against Pebble, the test authority of Let's Encrypt, and ACMEEH, one for own networks.

    run.py VMAUTH [--pebble PEBBLE] [--acmeeh PYTHON --postgresql FOLDER] [--only PART]

Pebble's name server must be beside it, as PEBBLE-challtestsrv. Debian's Pebble knows neither renewal windows (ARI) nor profiles; with
PEBBLE, the path of a newer one, these are tested too; with PYTHON, that of an environment with ACMEEH, and the FOLDER of PostgreSQL's
programs, ACMEEH is as well. PART is the name of a function. Ends with `N passed, N failed`.
"""
import argparse
import concurrent.futures
import json
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gate import Balancer, Gate
from internal_authority import InternalAuthority
from kit import Authority, Stalls, Vmauth, check, free_port, lines, mode, openssl, summary, wait_for

HOSTS = ["a.example", "b.example"]


def new_cache():
    """A folder for certificates; it goes when the script ends."""
    return Path(tempfile.mkdtemp(prefix="acme-cache-", dir=_caches.name))


_caches = tempfile.TemporaryDirectory(prefix="acme-caches-")


def renewals(pebble):
    """Certificates of half a minute: first issue, renewals without a gap, a restart, a crash, an authority that is away."""
    tls_port, lifetime = free_port(), 24
    cache = new_cache() / "certificates"
    with Authority(pebble, lifetime, free_port(), tls_port) as authority:
        # Client certificates are demanded; the authority has none.
        openssl(authority.folder, *"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=client -keyout client.key -out client.crt".split())
        pair = authority.folder / "client.pem"
        pair.write_bytes((authority.folder / "client.key").read_bytes() + (authority.folder / "client.crt").read_bytes())
        options = ["-mtls", f"-mtlsCAFile={authority.folder / 'client.crt'}"]
        root = authority.root()
        with Vmauth(authority, HOSTS, tls_port, options=options, cache=cache) as vmauth:
            shown = lambda host: vmauth.shown(host, root, pair)
            first = {host: wait_for(f"the certificate of {host}", lambda: shown(host)) for host in HOSTS}
            check("TLS-ALPN-01 serves several hosts, beside client certificates", first["a.example"] != first["b.example"], first)
            check("a name that is none of the hosts is refused", vmauth.shown("c.example", None, pair) is None)
            gaps, serials, until = 0, set(), time.monotonic() + lifetime * 1.6
            with Stalls() as stalls:
                while time.monotonic() < until or len(serials) < 3 and time.monotonic() < until + 2 * lifetime:
                    seen = shown("a.example")
                    # A renewal has a third of the lifetime; a machine that stalls meanwhile proves nothing.
                    gaps += seen is None and stalls.longest(time.monotonic() - lifetime / 2) < 1
                    serials.add(seen and seen[0])
                    time.sleep(0.05)
            check("certificates of seconds are renewed more than once, without a failed handshake",
                  gaps == 0 and len(serials - {None}) >= 3, f"{gaps} gaps, {serials}")
            issued = vmauth.metric('vm_acme_certificates_issued_total host="a.example"')
            check("renewals are counted", issued >= 3, issued)
            left = vmauth.metric('vm_tls_cert_expiry_timestamp_seconds cert="a.example"') - time.time()
            check("the end of the served certificate is a metric", 0 < left <= lifetime, left)
            check("nothing failed", failures(vmauth) == 0, lines(vmauth.log(), "cannot"))

            files = {path.name: mode(path) for path in cache.iterdir() if not is_of_an_order(path.name)}
            check("folder and files are the owner's", mode(cache) == "0o700" and set(files.values()) == {"0o600"} and len(files) == 3, files)

            # The metric tells of a new certificate before the listener shows it.
            left = lambda certificate: ssl.cert_time_to_seconds(certificate[1]) - time.time()
            before = wait_for("a fresh certificate", lambda: (seen := shown("a.example")) and left(seen) > lifetime - 6 and seen)
            fresh_at = time.monotonic()
            vmauth.stop(signal.SIGKILL)
            (cache / "b.example").write_text((cache / "b.example").read_text()[:600])
            old, new = cache / "a.example.1.unfinished", cache / "a.example.2.unfinished"
            for path in (old, new):
                path.write_text("half a file")
            os.utime(old, (time.time() - 4000,) * 2)
            vmauth.start()
            after = wait_for("the cached certificate", lambda: shown("a.example"))
            # On a machine that is that slow it has been renewed.
            check("a certificate outlives a crash", after == before or time.monotonic() - fresh_at > lifetime / 3, (before, after))
            check("a broken file costs its own host an order, no other one",
                  wait_for("the other host", lambda: shown("b.example")) and lines(vmauth.log(), "cached certificate of b.example"))
            check("unfinished files are removed, and not those that a live process may be writing", not old.exists() and new.exists())
            check("the account is used again", len(lines(vmauth.log(), "registered ACME account")) == 1)

            authority.server.stop()
            wait_for("a failed renewal", lambda: vmauth.metric('vm_acme_failures_total cause="unreachable"') >= 1)
            check("what is there is shown while the authority is away", shown("a.example"))
            authority.start()
            root = authority.root()
            # It has forgotten the account, and has another root.
            check("an authority that comes back, without memory, is used again", wait_for("a new certificate", lambda: shown("a.example")))
            check("an unknown account is replaced", len(lines(vmauth.log(), "registered ACME account")) == 2)


def is_of_an_order(name):
    """Whether a file of the folder is there only while an order runs."""
    return name.endswith((".unfinished", "+lock", ".lock", "+token", "+http-01"))


def failures(vmauth):
    """Without those of nonces that the authority refuses for sport, three times in a row."""
    return vmauth.metric("vm_acme_failures_total") - vmauth.metric('vm_acme_failures_total cause="server"')


def expires_in(vmauth):
    return vmauth.metric('vm_tls_cert_expiry_timestamp_seconds cert="a.example"') - time.time()


def over_http(pebble):
    """The TLS port of the authority leads nowhere: it must be HTTP."""
    http_port = free_port()
    with Authority(pebble, 3600, http_port, free_port()) as authority:
        options = ["-httpAuth.username=u", "-httpAuth.password=p", "-http.pathPrefix=/vm"]
        with Vmauth(authority, HOSTS[:1], free_port(), http_port, options) as vmauth:
            root = authority.root()
            check("HTTP-01 stands in when TLS-ALPN-01 fails, before path prefix and credentials",
                  wait_for("the certificate", lambda: vmauth.shown("a.example", root)))
            check("no folder is worth a warning", lines(vmauth.log(), "warn.*-tlsAutocertCacheDir is not set"))
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{http_port}/.well-known/acme-challenge/guessed", timeout=60)
                status = 200
            except urllib.error.HTTPError as error:
                status = error.code
            check("other tokens are requests as any other", status == 400, status)


def refusals(pebble):
    """Neither port leads anywhere; then an old certificate from files serves."""
    with Authority(pebble, 3600, free_port(), free_port()) as authority:
        openssl(authority.folder, *"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=file -keyout file.key -out file.crt".split())
        options = [f"-tlsCertFile={authority.folder / 'file.crt'}", f"-tlsKeyFile={authority.folder / 'file.key'}"]
        with Vmauth(authority, HOSTS[:1], free_port(), options=options) as vmauth:
            wait_for("the failure", lambda: vmauth.metric('vm_acme_failures_total cause="validation"') == 1)
            log = lines(vmauth.log(), "cannot obtain a TLS certificate for a.example")
            check("a failed validation is told once, with the authority's words and the pause",
                  len(log) == 1 and "TlsAlpn01 failed" in log[0] and "onnect" in log[0] and "trying again in" in log[0], log)
            check("certificates of files serve meanwhile", vmauth.shown("a.example") is not None)


def beside_one_that_hangs(pebble):
    """The order of the first host hangs, and then it cannot be validated: the other one has its certificate and renewals all the same."""
    tls_port, lifetime = free_port(), 24
    cache = new_cache()
    with Authority(pebble, lifetime, free_port(), tls_port) as authority, Gate(authority, "b.example") as gate:
        authority.point("b.example", "127.0.0.2")
        root = authority.root()
        with Vmauth(gate, ["b.example", "a.example"], tls_port, cache=cache) as vmauth:
            wait_for("the order that hangs", gate.held.is_set)
            # A request that hangs is given up after half a minute.
            check("a host whose order hangs holds up no other",
                  wait_for("the other host's certificate", lambda: vmauth.shown("a.example", root), patience=25))
            failed = lambda words: vmauth.metric(f"vm_acme_failures_total {words}")
            check("an order that hangs is no failure yet", failed('host="b.example"') == 0, lines(vmauth.log(), "cannot"))
            gate.open()
            wait_for("its failure", lambda: failed('host="b.example" cause="validation"') == 1)
            wait_for("renewals of the other host", lambda: vmauth.metric('vm_acme_certificates_issued_total host="a.example"') >= 3)
            others = failures(vmauth) - failed('host="b.example" cause="validation"')
            check("failures are counted by host and cause", others == 0 and failed('host="b.example"') == 1, lines(vmauth.log(), "cannot"))
            check("all hosts have one account", len(lines(vmauth.log(), "registered ACME account")) == 1)
            check("the pause after a failure holds", len(lines(vmauth.log(), "cannot obtain a TLS certificate for b.example")) == 1)

            authority.point("b.example", "127.0.0.1")
            vmauth.stop()
            vmauth.start()
            wait_for("the certificate of the host that can be validated now", lambda: vmauth.shown("b.example", root))
            renewed = lambda host: vmauth.metric(f'vm_acme_certificates_issued_total host="{host}"') >= 2
            wait_for("renewals of both", lambda: renewed("a.example") and renewed("b.example"))
            check("both are renewed later", failures(vmauth) == 0, lines(vmauth.log(), "cannot"))


def over_tls_at_two(pebble):
    """Two processes share a folder, and the authority's looks are spread over both."""
    ports = [free_port(), free_port()]
    with Balancer(ports) as balancer, Authority(pebble, 45, free_port(), balancer.port) as authority:
        share_a_folder(authority, balancer, [(port, None) for port in ports])


def over_http_at_two(pebble):
    """The same over HTTP; the TLS port of the authority leads nowhere."""
    ports = [(free_port(), free_port()) for _ in range(2)]
    with Balancer([http_port for _, http_port in ports]) as balancer, Authority(pebble, 45, balancer.port, free_port()) as authority:
        share_a_folder(authority, balancer, ports)


def share_a_folder(authority, balancer, ports):
    cache = new_cache()
    root = authority.root()
    gate = Gate(authority, *HOSTS)
    first, second = [Vmauth(gate, HOSTS, tls_port, http_port, cache=cache) for tls_port, http_port in ports]
    both = lambda host: (first.shown(host, root), second.shown(host, root))
    same = lambda host: both(host)[0] if None not in both(host) and len(set(both(host))) == 1 else None
    issued = lambda host: sum(vmauth.metric(f'vm_acme_certificates_issued_total host="{host}"') for vmauth in (first, second))
    with gate, first, second:
        # Whoever orders first would be validated at one that does not listen yet.
        wait_for("both processes", lambda: all(vmauth.metric("process_start_time_seconds") for vmauth in (first, second)))
        gate.open()
        certificates = {host: wait_for(f"the same certificate of {host} at both", lambda: same(host)) for host in HOSTS}
        counts = [issued(host) for host in HOSTS]
        check("what one process orders the other takes over, also at the first start", counts == [1, 1], counts)
        check("validation may reach either process", failures(first) + failures(second) == 0 and all(balancer.taken),
              (balancer.taken, lines(first.log() + second.log(), "cannot")))
        accounts = lines(first.log() + second.log(), "registered ACME account")
        check("both processes have one account", len(accounts) == 1, accounts)
        renewed = lambda host: (same(host) or certificates[host]) != certificates[host]
        wait_for("renewals at both", lambda: all(renewed(host) for host in HOSTS))
        check("renewals fail at neither", failures(first) + failures(second) == 0, lines(first.log() + second.log(), "cannot"))
    left = [path.name for path in cache.iterdir() if is_of_an_order(path.name) and "lock" not in path.name]
    check("nothing but the files of hosts and account is left", not left, left)


def fault_of_the_authority(pebble):
    """It cannot tell the state of an order, once: nothing has failed that would be worth a long pause."""
    port = free_port()
    with Authority(pebble, 3600, free_port(), port) as authority, Gate(authority) as gate:
        gate.failing = "/my-order/"
        root = authority.root()
        with Vmauth(gate, HOSTS[:1], port) as vmauth:
            wait_for("the certificate", lambda: vmauth.shown("a.example", root))
            server, all_of_them = (vmauth.metric(f"vm_acme_failures_total {words}") for words in ('cause="server"', ""))
            told = lines(vmauth.log(), "cannot obtain a TLS certificate for a.example: .*out of order.*trying again in 5s")
            check("a fault of the authority is called so, and tried again soon", server == all_of_them >= 1 and told, lines(vmauth.log(), "cannot"))


def luck_of_another(pebble):
    """One process cannot be validated and pauses; another one that shares the folder can."""
    port, cache = free_port(), new_cache()
    with Authority(pebble, 3600, free_port(), port) as authority:
        authority.point("a.example", "127.0.0.2")
        root = authority.root()
        with Vmauth(authority, HOSTS[:1], free_port(), cache=cache) as unlucky:
            wait_for("the failure", lambda: unlucky.metric('vm_acme_failures_total cause="validation"') == 1)
            authority.point("a.example", "127.0.0.1")
            with Vmauth(authority, HOSTS[:1], port, cache=cache) as lucky:
                ordered = wait_for("the certificate", lambda: lucky.shown("a.example", root))
                # The pause is a quarter of an hour.
                taken = wait_for("the same one at the other process", lambda: unlucky.shown("a.example", root), patience=150)
                check("a process that pauses after a failure takes over what another one gets meanwhile",
                      taken == ordered and failures(unlucky) == 1, (ordered, taken))


def windows_and_profiles(pebble):
    """Renewal at the window that the authority suggests, and a profile of its."""
    tls_port = free_port()
    cache = new_cache()
    with Authority(pebble, 86_400, free_port(), tls_port) as authority:
        root = authority.root()
        options = ["-tlsAutocertProfile=brief"]
        with Vmauth(authority, HOSTS[:1], tls_port, options=options, cache=cache) as vmauth:
            first = wait_for("the certificate", lambda: vmauth.shown("a.example", root))
            left = wait_for("the metric", lambda: expires_in(vmauth) if expires_in(vmauth) > 0 else None)
            check("the profile is asked for", left < 3700, left)
            vmauth.stop()
            pem = (cache / "a.example").read_text()
            leaf = pem[pem.index("-----BEGIN CERTIFICATE"):].split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
            window = '{"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}'
            body = '{"certificate": %s, "ariResponse": %s}' % (json.dumps(leaf), json.dumps(window))
            check("the authority takes the window", authority.ask("/set-renewal-info/", body.encode()))
            vmauth.start()
            wait_for("the renewal", lambda: (vmauth.shown("a.example", root) or first) != first)
            check("a certificate whose window is over is renewed, however fresh it is", True)
            issued = vmauth.metric("vm_acme_certificates_issued_total")
            check("the new one is left alone", issued == 1, issued)
            check("nothing failed", failures(vmauth) == 0, lines(vmauth.log(), "cannot"))
    with Authority(pebble, 86_400, free_port(), free_port()) as authority:
        with Vmauth(authority, HOSTS[:1], free_port(), options=["-tlsAutocertProfile=unknown"]) as vmauth:
            wait_for("the refusal", lambda: vmauth.metric('vm_acme_failures_total cause="refused"') == 1)
            check("an unknown profile is named", lines(vmauth.log(), "cannot obtain a TLS certificate for a.example: .*profile"))


def internal(python, programs):
    """An authority with another idea of certificates' identifiers: its window is found, its refusal of `replaces` costs one question."""
    tls_port, http_port = free_port(), free_port()
    cache = new_cache()
    with InternalAuthority(python, programs, http_port, tls_port) as authority:
        root = authority.root()
        with Vmauth(authority, HOSTS, tls_port, cache=cache) as vmauth:
            shown = lambda: vmauth.shown("a.example", root)
            first = wait_for("the certificate", shown)
            wait_for("the other host's", lambda: vmauth.shown("b.example", root))
            check("ACMEEH's validation by TLS-ALPN-01 and its orders are understood", failures(vmauth) == 0, lines(vmauth.log(), "cannot"))
            left = wait_for("the metric", lambda: expires_in(vmauth) if expires_in(vmauth) > 0 else None)
            check("certificates of a day are taken", 80_000 < left <= 86_400, left)

            asked = lambda: len(lines(authority.server.log(), "/renewalInfo/.* 200 "))
            wait_for("the questions for windows", lambda: asked() >= 2)
            vmauth.stop()
            vmauth.start()
            wait_for("the same questions after a restart", lambda: asked() >= 4)
            after = wait_for("the cached certificate", shown)
            check("a window that is to come leaves the certificate alone", after == first and failures(vmauth) == 0, (first, after))

            vmauth.stop()
            changed = authority.age()
            check("the authority's records are changed", changed == "UPDATE 2", changed)
            vmauth.start()
            wait_for("the renewal", lambda: (shown() or first) != first)
            wait_for("both renewals", lambda: vmauth.metric("vm_acme_certificates_issued_total") == 2)
            check("a window that is over renews every host", True)
            check("an order that may not tell what it replaces is repeated without that",
                  lines(authority.server.log(), "POST /new-order 404 ") and failures(vmauth) == 0,
                  lines(authority.server.log(), "new-order") + lines(vmauth.log(), "cannot"))
        with Vmauth(authority, HOSTS[:1], free_port(), http_port) as vmauth:
            wait_for("the certificate", lambda: vmauth.shown("a.example", root))
            check("ACMEEH's validation by HTTP-01 is answered", True)


def run_part(part):
    function, *authority = part
    try:
        function(*authority)
    except Exception as error:
        check(f"{function.__name__} with {authority[0]}", False, repr(error))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vmauth")
    parser.add_argument("--pebble")
    parser.add_argument("--acmeeh")
    parser.add_argument("--postgresql")
    parser.add_argument("--only")
    options = parser.parse_args()
    Vmauth.binary = os.path.abspath(options.vmauth)
    newer = options.pebble and os.path.abspath(options.pebble)
    socket.setdefaulttimeout(60)
    # Those that take longest come first.
    parts = [(renewals, "pebble"), (luck_of_another, "pebble"), (beside_one_that_hangs, "pebble"), (over_tls_at_two, "pebble"),
             (over_http_at_two, "pebble"), (over_http, "pebble"), (refusals, "pebble"), (fault_of_the_authority, "pebble")]
    parts += [(windows_and_profiles, newer), (over_http, newer)] if newer else []
    parts += [(internal, os.path.abspath(options.acmeeh), options.postgresql)] if options.acmeeh else []
    parts = [part for part in parts if options.only in (None, part[0].__name__)]
    # They mostly wait.
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(run_part, parts))
    return summary()


if __name__ == "__main__":
    sys.exit(main())
