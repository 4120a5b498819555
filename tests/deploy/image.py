"""The images, started as a container engine would: empty read-only root without /dev and /proc, uid 65534, arguments behind the entrypoint."""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile

import kit
import program
from packages import version

ROOT = kit.HERE.parents[1]
CONFIGS = {
    "vmauth": "unauthorized_user: {url_prefix: 'http://127.0.0.1:1'}\n",
    "vmagent": "scrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:1']}]}]\n",
}


def read(path):
    """Settings of the image, and its only layer as a tar file."""
    with tarfile.open(path) as layout:
        def blob(entry):
            return layout.extractfile("blobs/sha256/" + entry["digest"].removeprefix("sha256:")).read()

        manifest = json.loads(blob(json.load(layout.extractfile("index.json"))["manifests"][0]))
        return json.loads(blob(manifest["config"]))["config"], gzip.decompress(blob(manifest["layers"][0]))


def described(name):
    """What the Containerfile says of the image."""
    text = (ROOT / "deploy" / "Containerfile").read_text()
    stage = re.search(rf"(?ms)^FROM scratch AS {name}\n(.*?)(?=^FROM|\Z)", text).group(1)
    lines = dict(line.split(" ", 1) for line in stage.splitlines() if line and not line.startswith("COPY"))
    volumes = {place: {} for place in json.loads(lines.get("VOLUME", "[]"))}
    return json.loads(lines["ENTRYPOINT"]), lines["USER"], {f"{lines['EXPOSE']}/tcp": {}}, volumes


def documented(name):
    """Where docs/deploy.md mounts the config, and the arguments that it gives the image, with an address where nothing listens for other hosts."""
    commands = [shlex.split(line) for line in (ROOT / "docs/deploy.md").read_text().replace("\\\n", "").splitlines() if line.startswith("podman run ")]
    [(command, at)] = [(command, at) for command in commands for at, word in enumerate(command) if word.startswith(f"{name}:")]
    kit.check(f"image of {name}: docs/deploy.md runs the one that was built", command[at] == f"{name}:{version()}", command[at])
    [config] = [mount.split(":")[1] for option, mount in zip(command[:at], command[1:at]) if option == "-v" and mount.endswith(":ro")]
    return config, [re.sub(r"http://[a-z]+:\d+/", "http://127.0.0.1:1/", argument) for argument in command[at + 1:]]


def unpacked_by_umoci(path):
    """Whether a program of others reads the image, and finds the same files."""
    place = kit.folder("umoci")
    with tarfile.open(path) as layout:
        layout.extractall(place / "layout", filter="data")
    tag = json.loads((place / "layout" / "index.json").read_text())["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    done = subprocess.run(["umoci", "raw", "unpack", "--rootless", "--image", f"{place}/layout:{tag}", str(place / "root")],
                          capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def named(name, path):
    """An engine that loads the file knows the image by its name, whichever of the two formats in it is read."""
    for transport in ("oci-archive", "docker-archive"):
        place = kit.folder("store")
        buildah = ["buildah", "--root", str(place / "store"), "--runroot", str(place / "run"), "--storage-driver", "vfs"]
        pulled = subprocess.run([*buildah, "pull", "--quiet", f"{transport}:{path}"], capture_output=True, text=True, check=False)
        names = subprocess.run([*buildah, "images", "--format", "{{.Name}}:{{.Tag}}"], capture_output=True, text=True, check=False)
        kit.check(f"image of {name}: its name after loading, {transport}", names.stdout.split() == [f"localhost/{name}:{version()}"],
                  (pulled.stderr, names.stdout, names.stderr))


def started(name, entrypoint, root):
    port = kit.free_port()
    config, arguments = documented(name)
    (root / config.lstrip("/")).write_text(CONFIGS[name])
    command = [*entrypoint, *arguments, f"-httpListenAddr=127.0.0.1:{port}"]
    queue = root / "vmagent-remotewrite-data"
    mounts = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}"]
    if queue.exists():
        # A volume takes over the owner of the folder it is mounted on.
        owner = queue.stat()
        mounts.append(f"mount -t tmpfs -o uid={owner.st_uid},gid={owner.st_gid},mode=700 none {queue}")
    run = " && ".join([*mounts, f"exec chroot --userspec=65534:65534 {root} {shlex.join(command)}"])
    url = f"http://127.0.0.1:{port}"
    process = program.start(name, ["unshare", "--mount", "--propagation=private", "sh", "-c", run], url)
    status = open(f"/proc/{process.child.pid}/status").read()
    ids = re.search(r"Uid:\s+(\d+)\s+(\d+)\s+(\d+)", status).groups()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) // 1024
    kit.check(f"image of {name}: serves /health as 65534 from a read-only root", set(ids) == {"65534"}, (ids, process.log()))
    kit.check(f"image of {name}: metrics, and no complaint about what is not there", "vm_app_version" in kit.request("GET", url + "/metrics").text()
              and not [line for line in program.errors(process) if ":1/" not in line and "127.0.0.1:1" not in line], process.log())
    kit.note(f"image of {name}: {resident} MiB resident")
    code = process.stop()
    kit.check(f"image of {name}: ends in order", code == 0, (code, process.log()[-1500:]))


def run(out):
    for name in CONFIGS:
        path = out / f"{name}.oci.tar"
        settings, layer = read(path)
        own = settings["Entrypoint"], settings["User"], settings["ExposedPorts"], settings.get("Volumes", {})
        kit.check(f"image of {name}: as the Containerfile describes it", own == described(name), (own, described(name)))
        root = kit.folder("root")
        root.chmod(0o755)
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            names = tar.getnames()
            tar.extractall(root, filter=lambda member, _: member, numeric_owner=True)
        kit.check(f"image of {name}: no shell, one program, certificates",
                  not [each for each in names if each.startswith(("bin/", "usr/bin/"))] and f"{name}-prod" in names
                  and "etc/ssl/certs/ca-certificates.crt" in names, names)
        libraries = [each for each in names if ".so" in each]
        kit.check(f"image of {name}: static", not libraries, libraries)
        kit.note(f"image of {name}: {len(layer) >> 20} MiB")
        if shutil.which("umoci"):
            kit.check(f"image of {name}: umoci reads it", *unpacked_by_umoci(path))
        if os.geteuid() == 0 and shutil.which("buildah"):
            named(name, path)
        if os.geteuid() == 0 and shutil.which("unshare"):
            started(name, settings["Entrypoint"], root)
        else:
            kit.note(f"image of {name} was not started: that needs root and unshare")
