"""Tenants stay apart on a real store: args that a route enforces hold, whatever a client says about the type of its body.

The store reads forms as Go programs do, which trims and lowers Unicode in a media type; a proxy that takes such a body for something
else would let it pass. Each spelling must be refused or answered with the own tenant's series alone.
"""

import socket
import urllib.parse

from kit import Vmauth, basic, check, request, wait_for
from prometheus import VictoriaMetrics

FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=B"
ALL = '{__name__!=""}'
# What the route enforces, and the args by which a client tries to get more.
ENFORCED = (
    ('extra_filters[]={tenant="a"}', ("extra_filters", "extra_filters[]", "extra_filters[]x")),
    ('extra_filters={tenant="a"}', ("extra_filters[]", "extra_filters")),
    ("extra_label=tenant=a", ("extra_label", "extra_filters")),
)
TYPES = {
    "plain": [FORM], "with a charset": [FORM + b"; charset=utf-8"], "with an odd charset": [FORM + b"; charset=utf-16"], "in capitals": [FORM.upper()],
    "tabs around": [b"\t" + FORM + b"\t;x"], "NBSP behind": [FORM + b"\xc2\xa0"], "NEL behind": [FORM + b"\xc2\x85"], "VT behind": [FORM + b"\x0b"],
    "U+2003 behind": [FORM + b"\xe2\x80\x83;charset=utf-8"], "U+3000 in front": [b"\xe3\x80\x80" + FORM], "Latin-1 NBSP": [FORM + b"\xa0"],
    "a dotted I": [FORM.replace(b"i", b"\xc4\xb0", 1)], "a long s": [FORM.replace(b"s", b"\xc5\xbf", 1)], "a comma": [FORM + b", text/plain"],
    "quoted": [b'"' + FORM + b'"'], "text before it": [b"text/plain", FORM], "text after it": [FORM, b"text/plain"], "none": [], "empty": [b""],
    "multipart": [MULTIPART], "multipart in capitals": [MULTIPART.replace(b"multipart", b"MULTIPART")], "multipart, NBSP": [MULTIPART.replace(b";", b"\xc2\xa0;")],
}


def send(vmauth, types, body, more=()):
    """Status and body of a POST with these lines of Content-Type."""
    address = urllib.parse.urlsplit(vmauth.url)
    lines = [b"POST /api/v1/query HTTP/1.1", b"Host: h", b"Connection: close", b"Authorization: " + basic("u", "p")["Authorization"].encode()]
    lines += [b"Content-Type: " + each for each in types] + [b"Content-Length: %d" % len(body), *more, b"", b""]
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(b"\r\n".join(lines) + body)
        reply = b""
        while piece := client.recv(65536):
            reply += piece
    return int(reply.split()[1]), reply.partition(b"\r\n\r\n")[2]


def multipart(args):
    parts = (f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in args)
    return ("".join(parts) + "--B--\r\n").encode()


def tenants_stay_apart():
    store = VictoriaMetrics()
    request("POST", store.url + "/api/v1/import/prometheus", body=b'salary{tenant="a"} 1111\nsalary{tenant="b"} 2222\n')
    request("GET", store.url + "/internal/force_flush")
    query = store.url + "/api/v1/query?query=salary"
    wait_for("both tenants", lambda: all(text in request("GET", query).body for text in (b"1111", b"2222")))
    for enforced, names in ENFORCED:
        vmauth = Vmauth(f"users: [{{username: u, password: p, url_prefix: '{store.url}/?{urllib.parse.quote(enforced, '=[]')}'}}]\n")
        own = request("GET", vmauth.url + "/api/v1/query?query=salary", basic("u", "p")).body
        check(f"forms: {enforced}: a query sees the own tenant alone", b"1111" in own and b"2222" not in own, own)
        leaks, served = [], 0
        for name in names:
            args = [("query", "salary"), (name, ALL), (name.upper(), ALL)]
            url = vmauth.url + "/api/v1/query?" + urllib.parse.urlencode(args)
            leaks += [f"{name} in the query"] if b"2222" in request("GET", url, basic("u", "p")).body else []
            for label, types in TYPES.items():
                body = multipart(args) if label.startswith("multipart") else urllib.parse.urlencode(args).encode()
                status, reply = send(vmauth, types, body)
                served += b"1111" in reply
                if b"2222" in reply or status >= 500:
                    leaks.append(f"{name}, {label}: {status} {reply[:100]}")
            status, reply = send(vmauth, [FORM], urllib.parse.urlencode(args).encode(), [b"Content-Encoding: gzip"])
            leaks += [f"{name}, said to be compressed"] if b"2222" in reply else []
        check(f"forms: {enforced}: no spelling of the type shows the other tenant", not leaks, leaks)
        check(f"forms: {enforced}: plain forms are served", served >= 4, served)
        vmauth.stop()
    store.stop()


PARTS = (tenants_stay_apart,)
