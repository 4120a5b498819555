"""Archive, package, debug files, list of parts, units: their contents, and that they depend on nothing but the programs."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import kit

ROOT = kit.HERE.parents[1]
PROGRAMS = ("vmagent", "vmauth")


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def output(*command, **options):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout + done.stderr


def same_bytes(out):
    again = kit.folder("again")
    shutil.copytree(out / "programs", again / "programs")
    shutil.copytree(out / "debug", again / "debug")
    code, said = output(ROOT / "deploy" / "build", "--out", again, "archive", "deb", "image", "sbom")
    sums = [(place / "SHA256SUMS").read_text() for place in (out, again)]
    kit.check("packed twice, the same bytes", code == 0 and sums[0] == sums[1] and len(sums[0].splitlines()) >= 6, (said[-500:], sums))
    for line in sums[0].splitlines():
        digest, name = line.split()
        if hashlib.sha256((out / name).read_bytes()).hexdigest() != digest:
            kit.check(f"SHA256SUMS: {name}", False)


def archive(out):
    path = next(out.glob(f"vmutils-linux-*-v{version()}.tar.gz"))
    with tarfile.open(path) as tar:
        members = [(each.name, oct(each.mode), each.uid) for each in tar.getmembers()]
        place = kit.folder("archive")
        tar.extractall(place, filter="data")
    kit.check("archive: the two programs", members == [(f"{name}-prod", "0o755", 0) for name in PROGRAMS], members)
    for name in PROGRAMS:
        code, said = output(place / f"{name}-prod", "-version")
        kit.check(f"archive: {name} tells its version", code == 0 and f"{name}-v{version()}" in said, said)
        _, sections = output("readelf", "-SW", place / f"{name}-prod")
        kit.check(f"archive: {name} has symbols, and its debug information elsewhere",
                  ".symtab" in sections and ".debug_info" not in sections and ".gnu_debuglink" in sections, sections)
        _, sections = output("readelf", "-SW", out / "debug" / f"{name}-prod.debug")
        kit.check(f"debug file of {name}", ".debug_line" in sections, sections)


def paths(out):
    """Nothing in the programs tells where they were built, or two builds would differ."""
    cargo = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    for name in PROGRAMS:
        for path in (out / "programs" / f"{name}-prod", out / "debug" / f"{name}-prod.debug"):
            # Debug sections are compressed.
            plain = kit.folder("plain") / path.name
            output("objcopy", "--decompress-debug-sections", path, plain)
            found = [place for place in (str(ROOT), cargo) if place.encode() in plain.read_bytes()]
            kit.check(f"{path.name}: no path of the machine that built it", not found, found)


def deb(out):
    path = next(out.glob("vmutils_*.deb"))
    place = kit.folder("deb")
    output("dpkg-deb", "-R", path, place)
    _, control = output("dpkg-deb", "-f", path)
    kit.check("deb: control", f"Version: {version()}" in control and "Package: vmutils" in control, control)
    conffiles = (place / "DEBIAN" / "conffiles").read_text().split()
    kit.check("deb: configs are kept over upgrades",
              conffiles == ["/etc/default/vmagent", "/etc/default/vmauth", "/etc/vmagent/scrape.yml", "/etc/vmauth/auth.yml"], conffiles)
    code, said = output("md5sum", "-c", "--quiet", "DEBIAN/md5sums", cwd=place)
    kit.check("deb: sums", code == 0, said)
    modes = {str(each.relative_to(place)): oct(each.stat().st_mode & 0o777) for each in place.rglob("*") if each.is_file()}
    kit.check("deb: secrets of configs are not for everybody", modes["etc/vmauth/auth.yml"] == modes["etc/vmagent/scrape.yml"] == "0o640", modes)
    for name in ("postinst", "prerm", "postrm"):
        code, said = output("sh", "-n", place / "DEBIAN" / name)
        kit.check(f"deb: {name} is a script", code == 0 and modes[f"DEBIAN/{name}"] == "0o755", said)
    code, said = output(place / "usr/bin/vmauth-prod", "-dryRun", f"-auth.config={place}/etc/vmauth/auth.yml")
    kit.check("deb: the config of vmauth loads", code == 0, said)
    code, said = output(place / "usr/bin/vmagent-prod", "-dryRun", f"-promscrape.config={place}/etc/vmagent/scrape.yml",
                        "-remoteWrite.url=http://127.0.0.1:1/api/v1/write")
    kit.check("deb: the config of vmagent loads", code == 0, said)
    return place


def units(place):
    """Those of the package, with the programs where they were unpacked to."""
    names = ("vmauth.service", "vmagent.service", "vmauth.socket")
    texts = {name: (place / "lib/systemd/system" / name).read_text() for name in names}
    for name in PROGRAMS:
        user = (place / "usr/lib/sysusers.d/vmutils.conf").read_text()
        # The package depends on nothing, and a small Debian has a shell and no /bin/kill; see systemd.py, which runs the units.
        programs = set(re.findall(r"(?m)^Exec\w+=(\S+)", texts[f"{name}.service"]))
        kit.check(f"{name}.service: runs nothing but the program and the shell", programs == {f"/usr/bin/{name}-prod", "/bin/sh"}, programs)
        kit.check(f"{name}.service: is never given up", "\nRestart=always\n" in texts[f"{name}.service"] and "\nStartLimitIntervalSec=0\n" in texts[f"{name}.service"])
        kit.check(f"{name}.service: its user is made", f"User={name}\n" in texts[f"{name}.service"] and f"u {name} " in user, user)
    if not shutil.which("systemd-analyze"):
        kit.note("systemd-analyze is not there: units were not verified")
        return
    for name in names:
        # Users and programs of the package are not those of this machine.
        text = texts[name].replace("/usr/bin/", f"{place}/usr/bin/").replace("User=vmauth", "User=daemon").replace("User=vmagent", "User=daemon")
        (place / name).write_text(re.sub(r"Group=vm\w+", "Group=daemon", text))
        code, said = output("systemd-analyze", "verify", "--man=no", place / name)
        said = "\n".join(line for line in said.splitlines() if name in line)
        kit.check(f"{name}: systemd knows every line of it", not said, said)
    for name in names[:2]:
        code, said = output("systemd-analyze", "security", "--offline=true", "--threshold=20", place / name)
        level = re.search(r"Overall exposure level.*", said)
        kit.check(f"{name}: exposure at most 2.0 of 10", code == 0 and level, level and level.group(0))


def parts(out):
    document = json.loads((out / "vmutils.cdx.json").read_text())
    names = {each["name"]: each for each in document["components"]}
    wanted = {"vmauth", "vmagent", "rustls", "aws-lc-sys", "tokio"}
    kit.check("sbom: programs and libraries", document["bomFormat"] == "CycloneDX" and wanted <= names.keys() and "proptest" not in names, sorted(names))
    bare = [name for name, each in names.items() if each["type"] == "library" and ("hashes" not in each or "licenses" not in each)
            and name not in ("vmkit", "jwt")]
    kit.check("sbom: each library with its sum and licence", not bare, bare)
    known = {each["ref"] for each in document["dependencies"]}
    loose = [each for entry in document["dependencies"] for each in entry["dependsOn"] if each not in known]
    kit.check("sbom: every dependency is listed", not loose, loose)


def run(out):
    same_bytes(out)
    archive(out)
    paths(out)
    units(deb(out))
    parts(out)
