"""Names are resolved as the system's resolver does it (resolv.conf(5), hosts(5)), whatever stands in the files of /etc."""

import time

from kit import (A, AAAA, BACKEND_PORT, NXDOMAIN, REQUEST, SERVFAIL, SRV, Backend, NameServer, Vmauth, a, check, cname, command, etc,
                 exchange, knows, note, srv, status)

FIRST, SECOND = "10.9.0.1", "10.9.0.2"
SERVERS = {}


def config(host, port=BACKEND_PORT):
    return f"unauthorized_user:\n  url_prefix: 'http://{host}:{port}/'\n"


def answer_with(address, answer):
    """The server of this address answers so from now on."""
    if address not in SERVERS:
        SERVERS[address] = NameServer(address, answer)
    SERVERS[address].answer, SERVERS[address].asked = answer, []
    return SERVERS[address]


def resolves(name, host="web.svc", resolv=f"nameserver {FIRST}\n", hosts="127.0.0.1 localhost\n", flags=(), within=15.0, port=BACKEND_PORT):
    etc("resolv.conf", resolv)
    etc("hosts", hosts)
    # A machine that stalls is late as well, but not each time.
    for last in (False, False, True):
        with Vmauth(config(host, port), *flags) as vmauth:
            started = time.monotonic()
            got = status(exchange(REQUEST, patience=within + 30))
            seconds = time.monotonic() - started
            if got == 200 and seconds > within and not last:
                note(f"{name}: after {seconds:.1f} s, again")
                continue
            check(name, got == 200 and seconds <= within, f"{got} after {seconds:.1f} s; {vmauth.troubles()}")
            return


def servers_are_asked_in_order():
    two = f"nameserver {FIRST}\nnameserver {SECOND}\n"
    answer_with(SECOND, lambda name, kind: NXDOMAIN)
    answer_with(FIRST, knows("web.svc"))
    for number in range(4):
        resolves(f"names: the first server knows it, the second does not ({number})", resolv=two)
    answer_with(FIRST, knows("web.svc", delay=0.1))
    resolves("names: the same, and the first is slower", resolv=two)
    answer_with(SECOND, knows("web.svc", "127.0.0.99"))
    resolves("names: the second has another address, and the first is slower", resolv=two)
    answer_with(FIRST, lambda name, kind: None)
    answer_with(SECOND, knows("web.svc"))
    resolves("names: the first is silent", resolv=two + "options timeout:1\n", within=6)
    answer_with(FIRST, lambda name, kind: SERVFAIL)
    resolves("names: the first fails", resolv=two, within=6)


def search_lists():
    answer_with(FIRST, knows("web.svc"))
    long = "ns-" + "x" * 70 + ".svc.cluster.local svc.cluster.local"
    for search in ("svc.cluster.local", long, ".lan", "foo..bar", "-- lan", "-x.lan", "~corp.example", "a/b", "."):
        resolves(f"names: search {search[:30]}", resolv=f"nameserver {FIRST}\nsearch {search}\n")
    answer_with(FIRST, knows("web.ns.svc.cluster.local"))
    kubernetes = f"nameserver {FIRST}\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    resolves("names: a short name in a cluster", host="web", resolv=kubernetes)
    answer_with(FIRST, knows("a.b.example"))
    resolves("names: a full name in a cluster", host="a.b.example", resolv=kubernetes)


def own_domain_plays_no_part():
    command("hostname", "vm1.corp.example")
    right, wrong = knows("web.other.example"), knows("web.corp.example", "127.0.0.99")
    server = answer_with(FIRST, lambda name, kind: wrong(name, kind) if name == "web.corp.example" else right(name, kind))
    resolves("names: the host's own domain beside a search list", host="web", resolv=f"nameserver {FIRST}\nsearch other.example\n")
    asked = {name for name, _ in server.asked}
    check("names: it is not asked for", "web.corp.example" not in asked, asked)


def one_kind_of_address_suffices():
    six = ("-enableTCP6",)
    answer_with(FIRST, lambda name, kind: None if kind == AAAA else [a(name, "127.0.0.1")])
    resolves("names: AAAA is never answered", flags=six, within=8)
    answer_with(FIRST, lambda name, kind: SERVFAIL if kind == AAAA else [a(name, "127.0.0.1")])
    resolves("names: AAAA fails", flags=six, within=8)
    answer_with(FIRST, lambda name, kind: [a(name, "127.0.0.1")] if kind == A else NXDOMAIN)
    resolves("names: AAAA does not exist", flags=six)


def aliases():
    def services(name, kind):
        if kind == SRV and name == "_http._tcp.web.svc":
            return [cname(name, "_http.real.svc"), srv("_http.real.svc", BACKEND_PORT, "t.x")]
        if kind == SRV and name == "_http.real.svc":
            return [srv(name, BACKEND_PORT, "t.x")]
        return ([a(name, "127.0.0.1")] if kind == A else []) if name == "t.x" else NXDOMAIN
    answer_with(FIRST, services)
    resolves("names: SRV behind a CNAME", host="srv+_http._tcp.web.svc")
    resolves("names: the same with discovery", host="srv+_http._tcp.web.svc", flags=("-discoverBackendIPs",))
    chain = {"web.svc": "b.x", "b.x": "c.x"}

    def addresses(name, kind):
        records, at = [], name
        while at in chain:
            records.append(cname(at, chain[at]))
            at = chain[at]
        return [*records, a(at, "127.0.0.1")] if kind == A and at == "c.x" else records
    answer_with(FIRST, addresses)
    resolves("names: A behind two CNAMEs")


def odd_files():
    answer_with(FIRST, knows("web.svc"))
    for options in ("timeout:0", "attempts:0", "ndots:99", "edns0 trust-ad", "rotate single-request", "no-such-option:7"):
        resolves(f"names: options {options}", resolv=f"nameserver {FIRST}\noptions {options}\n")
    resolves("names: comments and blanks", resolv=f"; c\n# c\n\n  nameserver\t{FIRST}   # c\nnameserver\nnameserver x.y\n")
    answer_with(FIRST, lambda name, kind: NXDOMAIN)
    resolves("names: the hosts file", hosts="127.0.0.1 localhost\n127.0.0.1\tWeb.svc other # c\n")
    resolves("names: an IPv4 address in the clothes of IPv6 in the hosts file", hosts="::ffff:127.0.0.1 web.svc\n")
    resolves("names: odd bytes in the hosts file", hosts="\0\1\n::g bad\n127.0.0.1 web.svc\n300.1.1.1 x\n")
    resolves("names: the hosts file without any name server", resolv="", hosts="127.0.0.1 web.svc\n")


def kept_over_an_outage():
    """What was resolved once serves on for a while when the servers do not answer."""
    server = answer_with(FIRST, lambda name, kind: [a(name, "127.0.0.1", ttl=1)] if kind == A else [])
    etc("resolv.conf", f"nameserver {FIRST}\noptions timeout:1 attempts:1\n")
    with Vmauth(config("web.svc"), "-idleConnTimeout=50ms") as vmauth:
        before = status(exchange(REQUEST))
        server.answer = lambda name, kind: None
        time.sleep(2.5)
        after = [status(exchange(REQUEST)) for _ in range(3)]
        check("names: the last answer is used while no server answers", before == 200 and after == [200] * 3, f"{before} {after} {vmauth.troubles()}")


def run():
    Backend()
    Backend(host="127.0.0.99").answer = lambda connection: connection.sendall(b"HTTP/1.1 418 Wrong\r\nContent-Length: 0\r\n\r\n")
    for case in (servers_are_asked_in_order, search_lists, own_domain_plays_no_part, one_kind_of_address_suffices, aliases, odd_files,
                 kept_over_an_outage):
        case()
