"""deploy/Containerfile, worked off by buildah, which needs neither a daemon nor, with chroot as its isolation, another kernel's help: the images are those of deploy/image.py.

The base image with the Rust toolchain is not fetched: in its place stands busybox with an `apt-get` that does nothing, and `deploy/build` puts the
programs there that were built before. What these two do is checked elsewhere.
"""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile

import image
import kit

BUSYBOX = "/bin/busybox"
BUILD = """#!/bin/sh
set -e
if [ -e target ]; then echo 'the context has the folder target'; exit 1; fi
found=$(find . -type f | wc -l)
if [ $found != WANTED ]; then echo "the context has $found files, want WANTED"; exit 1; fi
mkdir -p target/dist/programs
cp programs/* target/dist/programs/
"""


def base(place):
    """The base image as a tar file."""
    root = place / "base"
    for folder in ("bin", "usr/bin", "tmp", "etc/ssl/certs"):
        (root / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in ("sh", "rm", "mkdir", "chown", "cp", "find", "wc"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "bin/apt-get").write_text("#!/bin/sh\n")
    (root / "bin/apt-get").chmod(0o755)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs")
    with tarfile.open(place / "base.tar", "w") as tar:
        tar.add(root, ".")
    return place / "base.tar"


def context(place, programs):
    """What the engine is given: the repository, the programs, and a folder that it must leave out."""
    folder = place / "context"
    names = subprocess.run(["git", "ls-files"], cwd=image.ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    names = [name for name in names if (image.ROOT / name).exists()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image.ROOT / name, folder / name)
    shutil.copytree(programs, folder / "programs")
    (folder / "deploy/build").write_text(BUILD.replace("WANTED", str(len(names) + len(list(programs.iterdir())))))
    (folder / "target").mkdir()
    (folder / "target/old").write_text("a product of an earlier build")
    return folder


def entries(layer):
    """Names of files and folders with their kind, owner and, of files, contents."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {each.name.strip("./"): (each.isdir(), each.uid, each.gid, tar.extractfile(each).read() if each.isfile() else None) for each in tar}


def run(out):
    if os.geteuid() != 0 or not shutil.which("buildah") or not os.path.exists(BUSYBOX):
        kit.note("deploy/Containerfile was not worked off: that needs root, buildah and busybox-static")
        return
    place = kit.folder("buildah")
    store = ["--root", str(place / "store"), "--runroot", str(place / "run"), "--storage-driver", "vfs"]

    def buildah(*words):
        done = subprocess.run(["buildah", *store, *words], capture_output=True, text=True, check=False, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})
        if done.returncode:
            raise RuntimeError(f"buildah {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    start = buildah("from", "scratch")
    buildah("add", "--quiet", start, str(base(place)), "/")
    folder = context(place, out / "programs")
    buildah("commit", "--quiet", start, re.search(r"(?m)^FROM (\S+) AS build$", (folder / "deploy/Containerfile").read_text())[1])
    for name in image.CONFIGS:
        buildah("bud", "--isolation", "chroot", "--pull-never", "--target", name, "--tag", name, "--file", str(folder / "deploy/Containerfile"), str(folder))
        path = place / f"{name}.tar"
        buildah("push", "--quiet", name, f"oci-archive:{path}")
        ours, theirs = image.read(out / f"{name}.oci.tar"), image.read(path)
        settings = [{key: each[0].get(key) for key in ("Entrypoint", "User", "ExposedPorts", "Volumes")} for each in (ours, theirs)]
        kit.check(f"Containerfile of {name}: entry point, user, ports and volumes are those of deploy/image.py", settings[0] == settings[1], json.dumps(settings))
        files = [entries(layer) for _, layer in (ours, theirs)]
        kit.check(f"Containerfile of {name}: the same files, with the same owners and contents", files[0] == files[1],
                  [sorted((each, *entry[:3]) for each, entry in part.items()) for part in files])
