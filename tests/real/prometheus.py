"""Prometheus remote-writes through vmauth to a real single-node store: with a password, a wrong one, and tokens.

Also the other way round: Prometheus' own tool reads vmauth's metrics page.
"""

import json
import subprocess
import urllib.parse

from kit import (PATIENCE, Process, Provider, Vmauth, basic, check, folder, free_port, note, parse_page, request,
                 wait_for)

PASSWORD = "right-password"
MISTYPED = "rihgt-password"
CLIENT = {
    "secret": "prometheus-client-secret",
    "ttl": 600,
    "claims": {"vm_access": {"metrics_account_id": 1, "metrics_project_id": 2, "metrics_extra_labels": ["tenant=1:2"]}},
}


class VictoriaMetrics(Process):
    def __init__(self, port=None, data=None):
        self.port = port or free_port()
        self.data = data or folder("data")
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__("victoria-metrics", "victoria-metrics", f"-storageDataPath={self.data}",
                         f"-httpListenAddr=127.0.0.1:{self.port}", "-search.latencyOffset=0s", "-retentionPeriod=1")
        self.wait_log(r"started server at|started VictoriaMetrics in")
        wait_for("health of the store", lambda: answers(self.url + "/health"))

    def samples(self, url, headers, selector):
        """Timestamps by series, read through `url`."""
        request("GET", self.url + "/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": selector})
        reply = request("GET", f"{url}/api/v1/export?{query}", headers)
        if reply.status != 200:
            raise RuntimeError(f"export: {reply.status} {reply.text()}")
        return [json.loads(line) for line in reply.text().splitlines()]


class Prometheus(Process):
    """Scrapes `target` every second and writes to vmauth."""

    def __init__(self, run, vmauth, target, credentials):
        place = folder("prometheus")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = {
            "global": {"scrape_interval": "1s", "external_labels": {"run": run}},
            "scrape_configs": [{"job_name": "real", "static_configs": [{"targets": [target.removeprefix("http://")]}]}],
            "remote_write": [{
                "url": vmauth + "/api/v1/write",
                "queue_config": {"batch_send_deadline": "1s", "max_backoff": "1s", "max_shards": 1},
                **credentials,
            }],
        }
        path = place / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        super().__init__("prometheus", "prometheus", f"--config.file={path}", f"--storage.tsdb.path={place / 'data'}",
                         f"--web.listen-address=127.0.0.1:{self.port}")
        wait_for("readiness of Prometheus", lambda: answers(self.url + "/-/ready"))

    def metric(self, name):
        """The sum over all label values."""
        return sum(value for other, _, value in parse_page(request("GET", self.url + "/metrics").text()) if other == name)

    def scraped(self):
        """Timestamps of `up` in its own database, in milliseconds."""
        reply = request("GET", self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": "up[10m]"}))
        return {round(float(time) * 1000) for series in reply.json()["data"]["result"] for time, _ in series["values"]}


def answers(url):
    try:
        return request("GET", url, patience=2).status == 200
    except OSError:
        return False


def config(store, issuer):
    return f"""\
users:
- username: agent
  password: {PASSWORD}
  url_map:
  - src_paths: [/api/v1/write, /api/v1/query, /api/v1/export]
    url_prefix: {store}
- jwt:
    oidc: {{issuer: '{issuer}'}}
  url_map:
  - src_paths: [/api/v1/write]
    url_prefix: '{store}/?extra_label={{{{.MetricsExtraLabels}}}}'
"""


def remote_write():
    provider, store = Provider({"prometheus": CLIENT}), VictoriaMetrics()
    vmauth = Vmauth(config(store.url, provider.url))
    agent = basic("agent", PASSWORD)
    password = {"basic_auth": {"username": "agent", "password": PASSWORD}}

    right = Prometheus("right", vmauth.url, vmauth.url, password)
    wait_for("samples", lambda: store.samples(vmauth.url, agent, '{__name__="up",run="right"}'))
    query = urllib.parse.urlencode({"query": 'count by (run) (vm_app_version{run="right"})'})

    def answer():
        return request("GET", f"{vmauth.url}/api/v1/query?{query}", agent).json()["data"]["result"]

    result = wait_for("answer to the query", answer)
    check("prometheus: basic user writes and queries",
          [(series["metric"], series["value"][1]) for series in result] == [({"run": "right"}, "1")], result)

    wrong_password(vmauth, store, agent)
    oauth2(vmauth, store, agent, provider)
    store_outage(vmauth, store, agent, right)
    for process in (right, vmauth, provider):
        process.stop()


def wrong_password(vmauth, store, agent):
    before = vmauth.metric("vmauth_http_request_errors_total", reason="invalid_auth_token")
    password = {"basic_auth": {"username": "agent", "password": MISTYPED}}
    wrong = Prometheus("wrong", vmauth.url, vmauth.url, password)
    failed = wait_for("failed samples", lambda: wrong.metric("prometheus_remote_storage_samples_failed_total"))
    retried = wrong.metric("prometheus_remote_storage_samples_retried_total")
    # 401 is final for Prometheus 2.42: it drops the samples and says so.
    check("prometheus: wrong password: samples failed, none retried",
          failed > 0 and retried == 0 and "401 Unauthorized" in wrong.log(), (failed, retried, wrong.log()[-2000:]))
    counted = wait_for("refusals", lambda: vmauth.metric("vmauth_http_request_errors_total", reason="invalid_auth_token") - before)
    arrived = store.samples(vmauth.url, agent, '{run="wrong"}')
    check("prometheus: wrong password: counted by vmauth, nothing in the store", counted > 0 and arrived == [],
          (counted, arrived[:1]))
    said = vmauth.log() + vmauth.page()
    check("prometheus: wrong password: vmauth's log and metrics do not tell it",
          MISTYPED not in said and basic("agent", MISTYPED)["Authorization"].split()[1] not in said, said)
    wrong.stop()


def oauth2(vmauth, store, agent, provider):
    credentials = {"client_id": "prometheus", "client_secret": CLIENT["secret"], "token_url": provider.url + "/token"}
    prometheus = Prometheus("oauth2", vmauth.url, vmauth.url, {"oauth2": credentials})
    series = wait_for("samples", lambda: store.samples(vmauth.url, agent, '{__name__="up",run="oauth2"}'))
    check("prometheus: oauth2 client credentials: samples arrive with the labels of the token",
          [one["metric"].get("tenant") for one in series] == ["1:2"]
          and prometheus.metric("prometheus_remote_storage_samples_failed_total") == 0, series)
    prometheus.stop()


def store_outage(vmauth, store, agent, right):
    store.stop()
    wait_for("retries", lambda: right.metric("prometheus_remote_storage_samples_retried_total"))
    check("prometheus: store down: vmauth answers 502", "502 Bad Gateway" in right.log(), right.log()[-2000:])
    store = VictoriaMetrics(store.port, store.data)
    scraped = right.scraped()

    def missing():
        series = store.samples(vmauth.url, agent, '{__name__="up",run="right"}')
        return scraped - {time for one in series for time in one["timestamps"]}

    try:
        wait_for("the samples of the outage", lambda: not missing(), PATIENCE + 10, 0.5)
    except TimeoutError:
        pass  # the check below says what is missing
    left, failed = missing(), right.metric("prometheus_remote_storage_samples_failed_total")
    check("prometheus: store back: every sample of the outage arrives, none failed", not left and failed == 0,
          (len(left), len(scraped), failed))
    store.stop()


# Names of upstream that promtool would have otherwise; what reads them expects them to stay.
INHERENT = {
    "go_cpu_count", "process_io_read_bytes_total", "process_io_read_syscalls_total", "process_io_storage_read_bytes_total",
    "process_io_storage_written_bytes_total", "process_io_write_syscalls_total", "process_io_written_bytes_total",
    "vmauth_config_last_reload_success_timestamp_seconds",
}


def promtool():
    for flags in ((), ("-metrics.exposeMetadata",)):
        vmauth = Vmauth(config("http://127.0.0.1:9", "http://127.0.0.1:9"), *flags)
        request("GET", vmauth.url + "/api/v1/write", basic("agent", PASSWORD))
        page = vmauth.page()
        run = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=PATIENCE)
        remarks = [line for line in (run.stdout + run.stderr).splitlines() if line]
        # Upstream's pages have no help texts, with metadata or without.
        shapes = [line for line in remarks if not line.endswith("no help text")]
        odd = [line for line in shapes if line.split()[0] not in INHERENT]
        # 0 = clean, 3 = remarks, 1 = not the text format.
        check(" ".join(("promtool reads the metrics page", *flags)), run.returncode in (0, 3) and not odd, (run.returncode, odd))
        note(f"promtool: {len(remarks) - len(shapes)} names without help text, {len(shapes)} names of upstream it would change")
        vmauth.stop()


PARTS = (remote_write, promtool)
