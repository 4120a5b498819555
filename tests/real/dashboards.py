"""Public dashboards and alert rules find every metric name, label and value they read on vmauth's metrics page.

What they read is kept in `readings/vmauth.json`; `readings.py` says where it comes from. The pages compared are those of a
process that has had requests and each kind of error, first without and then with routes for requests without credentials.
"""

import json
import re
import socket
import subprocess
import threading
import urllib.parse

from kit import HERE, Store, Vmauth, basic, check, parse_page, request, wait_for
from readings import SCRAPERS, load

# Names of others, with the reason why vmauth has none.
NOT_OURS = {
    "up": "written by the scraper",
    "vm_concurrent_insert_capacity": "of components that take samples",
    "vm_concurrent_insert_current": "of components that take samples",
    "vm_concurrent_select_limit_timeout_total": "of components that answer queries",
    "vm_rows_ignored_total": "of components that take samples",
}


# ---------------------------------------------------------------- against a page

def matches(labels, matcher):
    name, operator, wanted = matcher
    have = labels.get(name, "")
    equal = re.fullmatch(wanted, have) is not None if "~" in operator else have == wanted
    return equal != operator.startswith("!")


def problems(reading, samples):
    for name, matchers in reading.selectors:
        if name in NOT_OURS:
            continue
        family = [labels for other, labels, _ in samples if other == name]
        if not family:
            yield f"{reading.place}: no {name}"
            continue
        # Variables of the dashboard may be anything; `x=""` and `x!=""` come in pairs, one of which is empty.
        telling = [each for each in matchers if each[0] not in SCRAPERS and "$" not in each[2] and each[2]]
        named = {each[0] for each in matchers} - SCRAPERS
        lacking = [label for label in named if not any(label in labels for labels in family)]
        if lacking:
            yield f"{reading.place}: {name} has no label {lacking}"
        elif not any(all(matches(labels, each) for each in telling) for labels in family):
            yield f"{reading.place}: no {name} with {telling}"
    ours = {name for name, _ in reading.selectors} - NOT_OURS.keys()
    for label in reading.labels if ours else ():
        if not any(label in labels for name, labels, _ in samples if name in ours):
            yield f"{reading.place}: no label {label} on any of {sorted(ours)}"


# ---------------------------------------------------------------- traffic

STATIC = """\
users:
- {{username: one, password: secret, max_concurrent_requests: 1, url_map: [{routes}]}}
- {{username: two, password: secret, url_map: [{routes}]}}
unauthorized_user:
  max_concurrent_requests: 1
"""
ROUTES = '{{src_paths: ["/up"], url_prefix: "{store}"}}, {{src_paths: ["/down"], url_prefix: "http://127.0.0.1:9"}}'
FLAGS = ("-maxQueueDuration=300ms", "-maxConcurrentRequests=2")
ONE, TWO, NOBODY = basic("one", "secret"), basic("two", "secret"), {}


def held(vmauth, store, *credentials):
    """A request of each that stays at the store; call the result to let them go."""
    store.hold.clear()
    threads = []
    for each in credentials:
        before = len(store.requests)
        threads.append(threading.Thread(target=request, args=("GET", vmauth.url + "/up", each), daemon=True))
        threads[-1].start()
        wait_for("held request", lambda: len(store.requests) > before)

    def release():
        store.hold.set()
        for thread in threads:
            thread.join()

    return release


def leave_early(vmauth, store):
    """A client that leaves while the store thinks."""
    before = len(store.requests)
    store.hold.clear()
    address = urllib.parse.urlsplit(vmauth.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        lines = ["GET /up HTTP/1.1", "Host: proxy", "Authorization: " + TWO["Authorization"]]
        client.sendall("\r\n".join(lines + ["", ""]).encode())
        wait_for("held request", lambda: len(store.requests) > before)
    vmauth.wait_metric(1, "vmauth_http_request_errors_total", reason="client_canceled")
    store.hold.set()


def dawdle(vmauth):
    """A client that sends only a part of its body; gives the reply."""
    address = urllib.parse.urlsplit(vmauth.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        lines = ["POST /up HTTP/1.1", "Host: proxy", "Authorization: " + TWO["Authorization"], "Content-Length: 100"]
        client.sendall("\r\n".join(lines + ["", "abc"]).encode())
        return client.recv(4096)


def errors_of_users(vmauth, store):
    def status(path, headers):
        return request("GET", vmauth.url + path, headers).status

    statuses = [status("/up", ONE), status("/down", ONE), status("/nowhere", ONE), status("/up", basic("one", "wrong"))]
    release = held(vmauth, store, ONE)
    statuses.append(status("/up", ONE))
    release()
    release = held(vmauth, store, ONE, TWO)
    statuses.append(status("/up", TWO))
    release()
    leave_early(vmauth, store)
    slow = dawdle(vmauth)
    check("dashboards: traffic of users meets every kind of error",
          statuses == [204, 502, 400, 401, 429, 429] and slow.startswith(b"HTTP/1.1 408 "), (statuses, slow))
    missing = [
        (name, labels) for name, labels in (
            ("vmauth_user_request_errors_total", {"username": "one"}),
            ("vmauth_user_request_backend_errors_total", {"username": "one"}),
            ("vmauth_user_concurrent_requests_limit_reached_total", {"username": "one"}),
            ("vmauth_concurrent_requests_limit_reached_total", {}),
            *(("vmauth_http_request_errors_total", {"reason": reason})
              for reason in ("invalid_auth_token", "missing_route", "client_canceled", "reject_slow_client")),
        ) if not vmauth.wait_metric(1, name, **labels)
    ]
    check("dashboards: each of them is counted once", not missing, (missing, vmauth.page()))


def errors_of_nobody(vmauth, store):
    statuses = [request("GET", vmauth.url + path).status for path in ("/up", "/down")]
    release = held(vmauth, store, NOBODY)
    statuses.append(request("GET", vmauth.url + "/up").status)
    release()
    check("dashboards: traffic without credentials meets every kind of error", statuses == [204, 502, 429], statuses)
    names = [f"vmauth_unauthorized_user_{name}_total"
             for name in ("request_errors", "request_backend_errors", "concurrent_requests_limit_reached")]
    missing = [name for name in names if not vmauth.wait_metric(1, name)]
    check("dashboards: each of them is counted once, too", not missing, (missing, vmauth.page()))


def public_dashboards():
    store = Store()
    routes = ROUTES.format(store=store.url)
    static = STATIC.format(routes=routes)
    vmauth = Vmauth(static, *FLAGS)
    errors_of_users(vmauth, store)
    vmauth.reload(static + f"  url_map: [{routes}]\n")
    errors_of_nobody(vmauth, store)
    samples = parse_page(vmauth.page())

    readings = load("vmauth")
    for source, found in readings.items():
        names = {name for reading in found for name, _ in reading.selectors}
        missing = [problem for reading in found for problem in problems(reading, samples)]
        check(f"dashboards: {source}: {len(found)} expressions read {len(names)} names, all there", names and not missing, missing)
    read = {name for found in readings.values() for reading in found for name, _ in reading.selectors}
    check("dashboards: exceptions are needed, and no more than that",
          NOT_OURS.keys() <= read and not NOT_OURS.keys() & {name for name, _, _ in samples}, NOT_OURS.keys() - read)
    # A check that cannot fail is none.
    lost = [sample for sample in samples if sample[0] != "vmauth_user_requests_total"]
    check("dashboards: a lost metric would be noticed",
          any("vmauth_user_requests_total" in problem for reading in readings["vmauth.json"] for problem in problems(reading, lost)))
    vmauth.stop()


def own_alerts():
    """The alert rules of the repository, as Prometheus reads them."""
    folder = HERE.parents[1] / "deploy" / "dashboards"
    for command in (["check", "rules", "vmauth-alerts.yml"], ["test", "rules", "vmauth-alerts.test.yml"]):
        ran = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True)
        check(f"dashboards: promtool {' '.join(command)}", ran.returncode == 0, ran.stdout + ran.stderr)
    dashboard = json.loads((folder / "vmauth.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    check("dashboards: panels of the own dashboard have numbers of their own", len(ids) == len(set(ids)) > 20, ids)


PARTS = (public_dashboards, own_alerts)
