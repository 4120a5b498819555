#!/usr/bin/env python3
"""Puts an image together as an OCI layout in a tar file, without a container engine; `podman load`, `docker load`, `skopeo copy oci-archive:…` read it.

    image.py vmauth|vmagent PROGRAM --arch amd64 --version X --out FILE.tar

One layer: the program, certificates of authorities, and the libraries of the program if it is not static. deploy/Containerfile
describes the same images. The bytes depend on the contents and SOURCE_DATE_EPOCH alone.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from datetime import datetime, timezone
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOBODY = 65534
# Ports, and folders that belong to the user of the image.
IMAGES = {"vmauth": (8427, []), "vmagent": (8429, ["vmagent-remotewrite-data"])}
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def libraries(program):
    """The shared libraries of a program with their places; none if it is static."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    words = [word for line in listing.splitlines() if "=>" in line or line.strip().startswith("/") for word in line.split() if word.startswith("/")]
    return [(word.lstrip("/"), Path(word).resolve()) for word in words]


def layer(name, program):
    """The root of the image as a tar file."""
    files = {f"{name}-prod": Path(program), str(CERTIFICATES).lstrip("/"): CERTIFICATES, **dict(libraries(program))}
    owned = IMAGES[name][1]
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."} | set(owned)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folders | files.keys()):
            entry = tarfile.TarInfo(path)
            entry.mtime = EPOCH
            if path in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                entry.uid = entry.gid = NOBODY if path in owned else 0
                tar.addfile(entry)
            else:
                content = files[path].read_bytes()
                entry.size, entry.mode = len(content), 0o444 if path.endswith(".crt") else 0o555
                tar.addfile(entry, io.BytesIO(content))
    return data.getvalue()


class Layout:
    """An OCI layout: blobs by digest, and the two files that lead to them."""

    def __init__(self):
        self.files = {"oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode()}

    def add(self, media_type, content):
        entry = {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}
        self.files[self.path(entry)] = content
        return entry

    def add_json(self, media_type, value):
        return self.add(media_type, json.dumps(value, sort_keys=True).encode())

    @staticmethod
    def path(entry):
        return "blobs/" + entry["digest"].replace(":", "/")

    def write(self, path):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(self.files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(self.files[name]), EPOCH, 0o644
                tar.addfile(entry, io.BytesIO(self.files[name]))


def config(name, arch, version, root):
    port, owned = IMAGES[name]
    created = datetime.fromtimestamp(EPOCH, timezone.utc).isoformat().replace("+00:00", "Z")
    settings = {
        "Entrypoint": [f"/{name}-prod"],
        "ExposedPorts": {f"{port}/tcp": {}},
        "Labels": {"org.opencontainers.image.title": name, "org.opencontainers.image.version": version,
                   "org.opencontainers.image.licenses": "Apache-2.0"},
        "User": f"{NOBODY}:{NOBODY}",
        "WorkingDir": "/",
    }
    if owned:
        settings["Volumes"] = {f"/{folder}": {} for folder in owned}
    return {
        "architecture": arch, "os": "linux", "created": created, "config": settings,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(root).hexdigest()]},
        "history": [{"created": created, "created_by": "deploy/image.py"}],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=IMAGES)
    parser.add_argument("program")
    parser.add_argument("--arch", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    root = layer(options.name, options.program)
    layout = Layout()
    settings = layout.add_json("application/vnd.oci.image.config.v1+json", config(options.name, options.arch, options.version, root))
    packed = layout.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(root, 6, mtime=0))
    manifest = layout.add_json("application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": settings, "layers": [packed],
    })
    # The name that engines give the image when they load it: podman and containerd read the first, tools for OCI layouts want the tag alone.
    name = f"localhost/{options.name}:{options.version}"
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": options.version}
    manifest["platform"] = {"architecture": options.arch, "os": "linux"}
    layout.files["index.json"] = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
    }, sort_keys=True).encode()
    # Docker without containerd's image store reads this in place of the index.
    layout.files["manifest.json"] = json.dumps([{"Config": layout.path(settings), "RepoTags": [name], "Layers": [layout.path(packed)]}]).encode()
    layout.write(options.out)


if __name__ == "__main__":
    main()
