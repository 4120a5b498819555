#!/usr/bin/env python3
"""Memory and CPU of Kubernetes discovery: an API server with so many pods, and the agent in front of it.

    bench/kubernetes_memory.py --bin target/release/vmagent            # 10,000 pods, role pod
    bench/kubernetes_memory.py --bin … --role endpoints --pods 20000

The pods have the shape that figures of other agents were taken with: two containers, three ports, six labels, three
annotations and the managed fields that a server sends, 4.6 KB of JSON each. Relabeling keeps one port of a pod.
Printed are the figures of an agent without jobs, then those with the pods: peak while listing, after the list, and
after changes of the status of 40 pods a second, which no label shows.
"""
import argparse, http.server, json, os, random, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path


def pod(number, node_count):
    labels = {"app": f"app-{number % 500}", "tier": "backend", "release": "stable", "team": f"team-{number % 20}",
              "pod-template-hash": f"{number % 500:08x}", "version": f"1.{number % 7}"}
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "checksum/config": f"{number * 2654435761 % 2**64:064x}"}
    ports = [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}]
    main = {"name": "app", "image": f"registry.example/app-{number % 500}:1.{number % 7}", "ports": ports, "resources": {}, "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "env": [{"name": f"SETTING_{n}", "value": f"value-{n}"} for n in range(8)]}
    side = {"name": "proxy", "image": "registry.example/proxy:2.3", "ports": [{"name": "admin", "containerPort": 15000, "protocol": "TCP"}], "resources": {}}
    fields = {f"f:field-{n}": {".": {}, "f:a": {}, "f:b": {}, "f:c": {}} for n in range(32)}
    managed = [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": fields, "f:spec": {"f:containers": {'k:{"name":"app"}': fields}}}}]
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    status = [{"name": name, "containerID": f"containerd://{number:064x}", "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}, "ready": True,
               "restartCount": 0, "image": "x", "imageID": f"x@sha256:{number:064x}"} for name in ("app", "proxy")]
    return {"metadata": {"name": f"app-{number % 500}-{number % 500:08x}-{number:05x}", "namespace": f"ns-{number % 25}", "uid": f"{number:08x}-0000-4000-8000-000000000000",
                         "resourceVersion": str(1000 + number), "labels": labels, "annotations": annotations, "managedFields": managed,
                         "ownerReferences": [{"kind": "ReplicaSet", "name": f"app-{number % 500}-{number % 500:08x}", "controller": True}]},
            "spec": {"nodeName": f"node-{number % node_count}", "containers": [main, side]},
            "status": {"phase": "Running", "podIP": address, "hostIP": f"192.168.0.{number % node_count}", "containerStatuses": status,
                       "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}}


def endpoints(number, pods):
    own = [p for p in pods if p["metadata"]["labels"]["app"] == f"app-{number}"]
    addresses = [{"ip": p["status"]["podIP"], "nodeName": p["spec"]["nodeName"],
                  "targetRef": {"kind": "Pod", "name": p["metadata"]["name"], "namespace": p["metadata"]["namespace"]}} for p in own]
    return {"metadata": {"name": f"app-{number}", "namespace": f"ns-{number % 25}", "resourceVersion": "1"},
            "subsets": [{"addresses": addresses, "ports": [{"name": "metrics", "port": 9090, "protocol": "TCP"}]}]}


def service(number):
    return {"metadata": {"name": f"app-{number}", "namespace": f"ns-{number % 25}", "labels": {"app": f"app-{number}"}},
            "spec": {"type": "ClusterIP", "clusterIP": f"10.96.{number >> 8}.{number & 255}", "ports": [{"name": "metrics", "port": 9090, "protocol": "TCP"}]}}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lists, pods, version, open_watches, lock = {}, [], 10_000_000, [], threading.Lock()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.send_response(422 if "sendInitialEvents" in query else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        kind = path.rsplit("/", 1)[-1]
        if "watch=1" in query and "sendInitialEvents" not in query:
            if kind == "pods":
                with self.lock:
                    self.open_watches.append(self)
            threading.Event().wait()
        head = b'{"kind":"List","metadata":{"resourceVersion":"%d"},"items":[' % self.version
        self.chunk(head)
        for start in range(0, len(self.lists.get(kind, [])), 100):
            comma = b"," if start else b""
            self.chunk(comma + b",".join(self.lists[kind][start:start + 100]))
        self.chunk(b"]}")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass

    @classmethod
    def touch(cls):
        """The status of one pod changes in a way that no label shows."""
        changed = random.choice(cls.pods)
        cls.version += 1
        changed["metadata"]["resourceVersion"] = str(cls.version)
        changed["status"]["conditions"][0]["lastTransitionTime"] = f"2026-01-02T03:04:{cls.version % 60:02}Z"
        line = json.dumps({"type": "MODIFIED", "object": changed}, separators=(",", ":")).encode() + b"\n"
        with cls.lock:
            for watch in cls.open_watches:
                watch.chunk(line)


def memory(pid):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(fields[key].split()[0]) / 1024 for name, key in (("rss", "VmRSS"), ("peak", "VmHWM"))}


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Agent:
    def __init__(self, binary, directory, jobs):
        config = directory / "scrape.yml"
        config.write_text(f"scrape_configs: {json.dumps(jobs)}")
        self.port = random.randrange(20000, 40000)
        args = [binary, f"-promscrape.config={config}", f"-httpListenAddr=127.0.0.1:{self.port}", "-remoteWrite.url=http://127.0.0.1:1/",
                f"-remoteWrite.tmpDataPath={directory}/data", "-loggerLevel=ERROR"]
        self.process = subprocess.Popen(args, cwd=directory, stdout=subprocess.DEVNULL, stderr=sys.stderr)

    def metric(self, name):
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30).read().decode()
        except OSError:
            return 0
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))

    def wait(self, name, value, limit=120):
        begun = time.monotonic()
        while self.metric(name) < value:
            if time.monotonic() - begun > limit or self.process.poll() is not None:
                sys.exit(f"{name} has not reached {value}")
            time.sleep(0.2)
        return time.monotonic() - begun

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--role", default="pod", choices=["pod", "endpoints"])
    parser.add_argument("--churn", type=int, default=20, help="seconds of changes")
    args = parser.parse_args()
    Api.pods = [pod(number, 100) for number in range(args.pods)]
    encode = lambda objects: [json.dumps(item, separators=(",", ":")).encode() for item in objects]
    Api.lists = {"pods": encode(Api.pods), "services": encode(map(service, range(500))),
                 "endpoints": encode(endpoints(n, Api.pods) for n in range(500)) if args.role == "endpoints" else []}
    print(f"{args.pods} pods, {sum(map(len, Api.lists['pods'])) / 1e6:.1f} MB of JSON, role {args.role}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keep = {"source_labels": ["__address__"], "regex": ".*:9090", "action": "keep"}
    job = {"job_name": "pods", "scrape_interval": "24h", "relabel_configs": [keep],
           "kubernetes_sd_configs": [{"role": args.role, "api_server": f"http://127.0.0.1:{server.server_address[1]}"}]}
    show = lambda what, figures: print(f"{what:<24}" + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    with tempfile.TemporaryDirectory() as directory:
        agent = Agent(os.path.abspath(args.bin), Path(directory), [])
        agent.wait("vm_app_version", 1)
        time.sleep(2)
        bare = memory(agent.process.pid)
        show("without jobs, MiB", bare)
        agent.stop()
    with tempfile.TemporaryDirectory() as directory:
        agent = Agent(os.path.abspath(args.bin), Path(directory), [job])
        took = agent.wait('vm_promscrape_active_scrapers{type="kubernetes_sd_configs"}', args.pods)
        pid = agent.process.pid
        listed = memory(pid)
        show("with the pods, MiB", listed | {"beyond none": listed["rss"] - bare["rss"], "seconds": took, "cpu s": cpu(pid)})
        before, begun = cpu(pid), time.monotonic()
        while time.monotonic() - begun < args.churn:
            Api.touch()
            time.sleep(1 / 40)
        show(f"{args.churn} s of changes, MiB", memory(pid) | {"cpu s": cpu(pid) - before})
        agent.stop()


if __name__ == "__main__":
    main()
