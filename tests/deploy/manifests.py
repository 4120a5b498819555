"""Manifests, values, compose file: the arguments that stand in them are known, their configs load, their probes are answered."""

import re
import shutil
import subprocess
import textwrap

import kit
import program
from packages import PROGRAMS, ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
# Ports of the Services that the charts make: `gateway.service.port`, and `legacyPort` of Mimir's.
GATEWAYS = {"mimir-gateway": ["80", "8080"], "loki-gateway": ["80"]}
# Keys of the charts' values.yaml that our files set, of victoria-metrics-auth and victoria-metrics-agent alike.
CHART_KEYS = {"image": {"registry", "repository", "tag", "variant", "pullPolicy"}, "podSecurityContext": {"enabled"}, "securityContext": {"enabled"}}


def container_arguments(text):
    return re.findall(r"(?m)^ +- (-\S+)$", text)


def config_of(text, name):
    """The text of a file inside of a manifest."""
    return textwrap.dedent(re.search(rf"(?m)^  {re.escape(name)}: \|\n((?:    .*\n|\n)+)", text).group(1))


def started(name, arguments, places, own):
    """The program with the arguments of a manifest, files and ports in places of this run."""
    names = {each.partition("=")[0] for each in own}
    kept = [each for each in arguments if each.partition("=")[0] not in names]
    for theirs, ours in places.items():
        kept = [each.replace(theirs, ours) for each in kept]
    return [*kept, *own]


def kubernetes(out):
    text = (KUBERNETES / "vmauth.yaml").read_text()
    place = kit.folder("kubernetes")
    (place / "auth.yml").write_text(config_of(text, "auth.yml"))
    ports = kit.free_port(), kit.free_port()
    arguments = started("vmauth", container_arguments(text), {"/config/": f"{place}/"},
                        (f"-httpListenAddr=127.0.0.1:{ports[0]}", f"-httpInternalListenAddr=127.0.0.1:{ports[1]}", "-http.shutdownDelay=1s"))
    internal = f"http://127.0.0.1:{ports[1]}"
    process = program.start("vmauth", [out / "programs/vmauth-prod", *arguments], internal)
    reply = kit.request("GET", f"http://127.0.0.1:{ports[0]}/", kit.basic("alice", "wonderland"))
    kit.check("manifest of vmauth: starts, its user is let in, its backend is not here", reply.status in (502, 503), reply.status)
    kit.check("manifest of vmauth: liveness by a bare connection leaves no error",
              program.connects(ports[1]) and all("victoria-metrics" in line for line in program.errors(process)), process.log())
    process.child.terminate()
    kit.wait_for("a probe that fails while it stops", lambda: not program.serves(internal))
    kit.check("manifest of vmauth: ends in order", process.stop() == 0, process.log())

    text = (KUBERNETES / "vmagent.yaml").read_text()
    (place / "scrape.yml").write_text(config_of(text, "scrape.yml"))
    (place / "client-secret").write_text("s")
    port = kit.free_port()
    arguments = started("vmagent", container_arguments(text),
                        {"/config/": f"{place}/", "/secret/": f"{place}/", "=/queue": f"={place}/queue", "$(POD_NAME)": "vmagent-0"},
                        (f"-httpListenAddr=127.0.0.1:{port}",))
    process = program.start("vmagent", [out / "programs/vmagent-prod", *arguments], f"http://127.0.0.1:{port}")
    kit.check("manifest of vmagent: starts outside of a cluster, too, and ends in order", process.stop() == 0, process.log()[-1500:])
    for name in (*PROGRAMS, *GATEWAYS):
        text = (KUBERNETES / f"{name}.yaml").read_text()
        wanted = ("runAsUser: 65534", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]", "path: /health")
        kit.check(f"manifest of {name}: hardened, with probes", all(each in text for each in wanted), [each for each in wanted if each not in text])
    for name in PROGRAMS:
        chart = (KUBERNETES / f"chart-victoria-metrics-{name.removeprefix('vm')}.yaml").read_text()
        kit.check(f"values of the chart of {name}: its image", f"repository: {name}\n" in chart, chart)
        keys = {top: set(re.findall(r"(?m)^  (\w+):", text)) for top, text in re.findall(r"(?m)^(\w+):\n((?:  .*\n)+)", chart)}
        # What goes into a security context is passed on as it is.
        kit.check(f"values of the chart of {name}: keys that the chart reads",
                  keys.keys() == CHART_KEYS.keys() and keys["image"] <= CHART_KEYS["image"] and all("enabled" in keys[each] for each in keys if each != "image"), keys)


def gateways(out):
    """In place of the gateways of charts; what their configs do is checked by tests/book."""
    for name, ports in GATEWAYS.items():
        text = (KUBERNETES / f"{name}.yaml").read_text()
        service = next(part for part in text.split("\n---\n") if "\nkind: Service\n" in part)
        targets = set(re.findall(r"targetPort: ([\w-]+)", service))
        kit.check(f"manifest of {name}: the Service has name and ports of the chart's",
                  re.findall(r" port: (\d+)", service) == ports and f"\n  name: {name}\n" in service and all(f"name: {each}, containerPort" in text for each in targets),
                  service)
        place = kit.folder(name)
        (place / "auth.yml").write_text(config_of(text, "auth.yml"))
        secrets = dict(re.findall(r"(?m)^  ([A-Z_]+): (\S+)$", text))
        arguments = started(name, container_arguments(text), {"/config/": f"{place}/"}, ("-dryRun", "-dryRun.strict"))
        done = subprocess.run([out / "programs/vmauth-prod", *arguments], capture_output=True, text=True, check=False, env=secrets)
        kit.check(f"manifest of {name}: arguments, config and secrets fit", done.returncode == 0 and secrets, done.stderr[-1500:])


def guide(out):
    path = ROOT / "examples" / "guide" / "compose.yaml"
    text = path.read_text()
    if shutil.which("docker-compose"):
        # Needs no engine: it reads the file against its schema and looks for what services refer to.
        done = subprocess.run(["docker-compose", "--file", str(path), "config", "--quiet"], capture_output=True, text=True, check=False)
        kit.check("compose file of the guide: docker-compose accepts it", done.returncode == 0, done.stderr[-1500:])
    for name in PROGRAMS:
        service = re.search(rf"(?ms)^  {name}:\n(.*?)(?=^  \w|^\w)", text).group(1)
        arguments = [each.replace("/etc/guide/", f"{ROOT}/examples/guide/") for each in container_arguments(service)]
        done = subprocess.run([out / f"programs/{name}-prod", *arguments, "-dryRun"], capture_output=True, text=True, check=False,
                              cwd=kit.folder("guide"))
        kit.check(f"compose file of the guide: {name} takes its arguments and files", done.returncode == 0, done.stderr[-1500:])


def run(out):
    kubernetes(out)
    gateways(out)
    guide(out)
