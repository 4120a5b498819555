"""The profiles of CPU and memory are what `go tool pprof` reads: gzipped profile.proto with sample types, samples and functions."""

import gzip
import http.client
import os
import subprocess
import tempfile
import threading
import urllib.parse

from kit import PATIENCE, Store, Vmauth, basic, check, request

CONFIG = """\
users:
- username: agent
  password: secret
  url_prefix: {store}
"""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Fields of a protobuf message: number and value, bytes or integer."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at:at + size], at + size
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        if at > len(data):
            raise ValueError("cut short")
        yield tag >> 3, value


def numbers(field):
    """A repeated integer, packed or not."""
    if isinstance(field, int):
        return [field]
    values, at = [], 0
    while at < len(field):
        value, at = varint(field, at)
        values.append(value)
    return values


def of(message, number):
    return [value for other, value in fields(message) if other == number]


def cpu_profile():
    store = Store()
    vmauth = Vmauth(CONFIG.format(store=store.url))
    done = threading.Event()

    def load():
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(vmauth.url).netloc, timeout=PATIENCE)
        while not done.is_set():
            connection.request("GET", "/", headers=basic("agent", "secret"))
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        reply = request("GET", vmauth.url + "/debug/pprof/profile?seconds=1")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    check("pprof: the profile is gzip", reply.status == 200 and reply.body[:2] == b"\x1f\x8b", (reply.status, reply.body[:200]))
    profile = gzip.decompress(reply.body)

    strings = [text.decode() for text in of(profile, 6)]
    types = [tuple(strings[of(one, number)[0]] for number in (1, 2)) for one in of(profile, 1)]
    check("pprof: sample types", strings[0] == "" and ("cpu", "nanoseconds") in types, (strings[:1], types))

    samples = of(profile, 2)
    values = [[number for field in of(sample, 2) for number in numbers(field)] for sample in samples]
    check("pprof: samples with a value of each type", samples and all(len(each) == len(types) for each in values)
          and sum(map(sum, values)) > 0, (len(samples), values[:3]))

    locations = {of(one, 1)[0]: of(one, 4) for one in of(profile, 4)}
    functions = {of(one, 1)[0]: strings[of(one, 2)[0]] for one in of(profile, 5)}
    used = {number for sample in samples for field in of(sample, 1) for number in numbers(field)}
    named = [of(line, 1)[0] in functions for lines in locations.values() for line in lines]
    check("pprof: stacks lead to locations, and those to functions", used and used <= locations.keys() and named and all(named),
          (len(used), len(locations), len(functions)))
    # Needs frame pointers in the build; `.cargo/config.toml` asks for them.
    ours = [name for name in functions.values() if "vmauth::" in name or "vmkit::" in name]
    check("pprof: stacks reach named functions of vmauth", ours, sorted(functions.values())[:20])
    vmauth.stop()


CONFIG_OF_MANY = "users:\n" + "".join(f"- username: user{number}\n  password: secret\n  url_prefix: http://127.0.0.1:9/\n" for number in range(2000))


def heap_profile():
    vmauth = Vmauth(CONFIG_OF_MANY)
    reply = request("GET", vmauth.url + "/debug/pprof/heap")
    check("pprof: the heap profile is gzip", reply.status == 200 and reply.body[:2] == b"\x1f\x8b", (reply.status, reply.body[:200]))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mem.pprof")
        with open(path, "wb") as file:
            file.write(reply.body)
        top = subprocess.run(["go", "tool", "pprof", "-top", "-cum", "-unit=b", path], capture_output=True, text=True, timeout=PATIENCE)
    check("pprof: go tool pprof opens the heap profile", top.returncode == 0 and "Type: inuse_space" in top.stdout, (top.stdout[:500], top.stderr[:500]))
    # Columns: flat, flat%, sum%, cum, cum%, name. Two thousand users hold a few megabytes, so some of it is sampled.
    rows = [line.split(None, 5) for line in top.stdout.splitlines() if "%" in line and "::" in line]
    ours = [row for row in rows if "vmauth::" in row[5] or "vmkit::" in row[5]]
    check("pprof: memory is held by named functions of vmauth", ours and all(row[3].endswith("B") for row in ours), top.stdout[:2000])
    vmauth.stop()


PARTS = (cpu_profile, heap_profile)
