"""The addresses of a VictoriaMetrics cluster in front of Debian's single-node store, and of Debian's Prometheus for one tenant.

Writes and queries go to the real programs; tenants become labels on the way in and filters on the way out. What came is kept, so
that a scenario can look at paths, headers and tokens.
"""

import http.server
import json
import re
import socket
import socketserver
import threading
import time
import urllib.parse
from dataclasses import dataclass

import kit
from prometheus import VictoriaMetrics, answers

WRITE = re.compile(r"/insert/(\d+):(\d+)/prometheus/api/v1/write")
QUERY = re.compile(r"/select/(\d+)(?::(\d+))?/prometheus(/api/v1/[\w/]+)")
# Whose store is Prometheus.
PROMETHEUS_TENANT = "1:2"
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class PrometheusStore(kit.Process):
    """Takes remote write, late samples too; it is a target of the agents as well."""

    def __init__(self):
        place = kit.folder("prometheus")
        path = place / "prometheus.yml"
        path.write_text(json.dumps({"storage": {"tsdb": {"out_of_order_time_window": "30m"}}}))  # JSON is YAML
        self.url = f"http://127.0.0.1:{kit.free_port()}"
        super().__init__("prometheus", "prometheus", f"--config.file={path}", f"--storage.tsdb.path={place / 'data'}",
                         f"--web.listen-address={self.url.removeprefix('http://')}", "--web.enable-remote-write-receiver")
        kit.wait_for("readiness of Prometheus", lambda: answers(self.url + "/-/ready"))


@dataclass(frozen=True)
class Write:
    """A write that came, and what the store answered."""

    at: float
    path: str
    headers: dict
    status: int
    answer: str

    @property
    def token(self):
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class TenantStore:
    """`stop` refuses connections, `start` takes them again on the same port."""

    def __init__(self):
        self.victoria, self.prometheus = VictoriaMetrics(), PrometheusStore()
        self.writes, self.strays = [], []
        self.lock = threading.Lock()
        self.server, self.port = None, 0
        self.start()

    def start(self):
        self.server = _Server(("127.0.0.1", self.port), self)
        self.port = self.server.server_port
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.close_all()

    def seen(self, tenant, since=0.0):
        """Writes to this tenant."""
        with self.lock:
            return [each for each in self.writes if each.at >= since and each.path == f"/insert/{tenant}/prometheus/api/v1/write"]

    def paths(self, since=0.0):
        with self.lock:
            return [each.path for each in self.writes if each.at >= since]

    def pass_on(self, method, path, query, headers, body):
        """(status, type, body) of the answer."""
        if found := WRITE.fullmatch(path):
            return self._write(found, method, path, query, headers, body)
        if found := QUERY.fullmatch(path):
            return self._query(found, query)
        with self.lock:
            self.strays.append(f"{method} {path}")
        return 404, "text/plain", b"unknown path\n"

    def _write(self, found, method, path, query, headers, body):
        tenant = ":".join(found.groups())
        labels = [("extra_label", f"vm_account_id={found[1]}"), ("extra_label", f"vm_project_id={found[2]}")]
        # Cluster and agent take an empty GET for a look whether the way is free; so says the guide. Single-node stores do not know it.
        if method == "GET" and not body:
            reply = kit.Reply(204, {}, b"")
        else:
            url = self.prometheus.url + "/api/v1/write"
            if tenant != PROMETHEUS_TENANT:
                url = self.victoria.url + "/api/v1/write?" + urllib.parse.urlencode([*urllib.parse.parse_qsl(query), *labels])
            reply = kit.request(method, url, {name: value for name, value in headers.items() if name not in HOP_BY_HOP}, body)
        with self.lock:
            self.writes.append(Write(time.time(), path, headers, reply.status, reply.text()))
        return reply.status, "text/plain", reply.body

    def _query(self, found, query):
        account, project, path = found[1], found[2] or "0", found[3]
        if f"{account}:{project}" == PROMETHEUS_TENANT:
            reply = kit.request("GET", f"{self.prometheus.url}{path}?{query}")
        else:
            own = urllib.parse.urlencode({"extra_filters[]": f'{{vm_account_id="{account}",vm_project_id="{project}"}}'})
            kit.request("GET", self.victoria.url + "/internal/force_flush")
            reply = kit.request("GET", f"{self.victoria.url}{path}?{query}&{own}&nocache=1")
        return reply.status, "application/json", reply.body

    def query(self, tenant, expression):
        """Series of an instant query, as the guide asks for them."""
        url = f"http://{self.address}/select/{tenant}/prometheus/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        reply = kit.request("GET", url)
        if reply.status != 200:
            raise RuntimeError(f"query: {reply.status} {reply.text()}")
        return reply.json()["data"]["result"]

    def times(self, tenant, selector, window="20m"):
        """Times of the samples in milliseconds, sorted, by `instance`."""
        return {
            series["metric"]["instance"]: sorted(round(float(at) * 1000) for at, _ in series["values"])
            for series in self.query(tenant, f"{selector}[{window}]")
        }


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address, store):
        self.open = set()
        super().__init__(address, _handler(store))

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # connections cut by close_all

    def close_all(self):
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _handler(store):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("transfer-encoding", "") == "chunked":
                body = b"".join(iter(self.chunk, b""))
            else:
                body = self.rfile.read(int(headers.get("content-length", 0)))
            path, _, query = self.path.partition("?")
            try:
                status, kind, reply = store.pass_on(self.command, path, query, headers, body)
            except OSError as error:
                status, kind, reply = 503, "text/plain", str(error).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            if status != 204:
                self.wfile.write(reply)

        def chunk(self):
            data = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
            self.rfile.readline()
            return data

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    return Handler
