#!/usr/bin/env python3
"""The Debian package in a Debian of its own, with systemd as its first process: installed, started, reloaded, killed, upgraded, removed, by the commands of
docs/deploy.md. tests/deploy/packages.py looks at the same units without running them.

    systemd.py [FOLDER]            FOLDER is what `deploy/build --out` was given, target/dist by default

Needs root, debootstrap and systemd-container, and a kernel that lets a container mount cgroup2 and overlayfs. The Debian is made once, in
target/systemd-root; a run works on a layer above it that goes away. One line a check; ends with `N passed, N failed`, and with status 1 if anything failed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "real")]

import kit  # noqa: E402

RELEASE, MIRROR = "bookworm", "http://deb.debian.org/debian"
LIMIT = 90
UNIT = "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/bin/bash /check.sh\nStandardOutput=file:/output\nStandardError=file:/output\n[Install]\nWantedBy=multi-user.target\n"

# What runs inside. `check NAME COMMAND` writes a line of /results; `curl` waits for a server that starts, and for a config that is being loaded.
SCRIPT = r"""
check() {
    local said status=0
    said=$(bash -c "$2" 2>&1) || status=$?
    printf '%s\t%s\t%s\n' "$status" "$1" "$(tail -c 1500 <<<"$said" | tr '\n\r\t' '|  ')" >>/results
}
export url=http://127.0.0.1:8427 soon='-sf -o /dev/null --retry 60 --retry-all-errors --retry-delay 1'
main() { systemctl show -p MainPID --value "$1"; }
export -f main

check 'apt-get installs it' 'apt-get install -y /vmutils.deb'
check 'and starts nothing' '! systemctl is-active vmauth && ! systemctl is-active vmagent'
check 'vmauth starts' 'systemctl enable --now vmauth && curl $soon $url/health'
check 'and lets nobody in' '[ "$(curl -s -o /dev/null -w "%{http_code}" $url/)" = 401 ]'
check 'vmagent starts' 'systemctl enable --now vmagent && curl $soon http://127.0.0.1:8429/health'
check 'its queue is its own' 'curl $soon http://127.0.0.1:8429/metrics && [ "$(stat -c %U:%a /var/lib/vmagent)" = vmagent:700 ]'
main vmauth >/before
printf 'users:\n- username: alice\n  password: wonderland\n  url_prefix: http://127.0.0.1:8429/\n' >/etc/vmauth/auth.yml
check 'a checked config is loaded by systemctl reload' \
    'vmauth-prod -dryRun -auth.config=/etc/vmauth/auth.yml && systemctl reload vmauth && curl $soon -u alice:wonderland $url/targets'
check 'by the same process' '[ "$(main vmauth)" = "$(cat /before)" ]'
check 'vmagent reloads, too' 'systemctl reload vmagent && systemctl is-active vmagent'
check 'as users of their own, without new privileges' \
    'for each in vmauth vmagent; do grep -q "NoNewPrivs:.1" /proc/$(main $each)/status && [ "$(stat -c %U /proc/$(main $each))" = $each ] || exit 1; done'
check 'vmauth may bind low ports and nothing else' 'grep "CapEff:.0000000000000400" /proc/$(main vmauth)/status'
check 'vmagent may nothing' 'grep "CapEff:.0000000000000000" /proc/$(main vmagent)/status'
check 'killed, it comes back' 'kill -9 $(main vmauth) && curl $soon -u alice:wonderland $url/targets && [ "$(main vmauth)" != "$(cat /before)" ]'
echo httpListenAddr=:80 >>/etc/default/vmauth
check 'a port below 1024' 'systemctl restart vmauth && curl $soon http://127.0.0.1/health'
sed -i '$d' /etc/default/vmauth
check 'an upgrade keeps configs and restarts what runs' \
    'main vmauth >/before; apt-get install -y --reinstall /vmutils.deb && curl $soon -u alice:wonderland $url/targets && [ "$(main vmauth)" != "$(cat /before)" ]'
check 'systemd holds the port' 'systemctl stop vmauth && systemctl enable --now vmauth.socket && curl $soon $url/health && systemctl is-active vmauth'
check 'and restarts refuse nobody' '
    (for each in $(seq 200); do curl -sf -o /dev/null -u alice:wonderland $url/targets || exit 1; done) & client=$!
    for each in 1 2 3 4 5; do systemctl restart vmauth && curl $soon $url/health || exit 1; done
    wait $client'
check 'both end in order' 'systemctl stop vmauth.socket vmauth vmagent && [ "$(systemctl show -p Result --value vmauth vmagent | sort -u | xargs)" = success ]'
check 'removed and purged, nothing is left' 'apt-get purge -y vmutils && ! ls -d /etc/vmauth /etc/vmagent && ! systemctl list-unit-files | grep -E "^vm(auth|agent)"'
check 'no unit has failed' '[ -z "$(systemctl list-units --state=failed --no-legend)" ]'
echo end >>/results
systemctl poweroff
"""

# In a mount namespace: systemd wants cgroup2 alone.
START = r"""
set -e
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    while umount -l /sys/fs/cgroup/unified 2>/dev/null || umount -l /sys/fs/cgroup 2>/dev/null; do :; done
    mount -t cgroup2 none /sys/fs/cgroup
fi
mount -t tmpfs none "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" none "$2/root"
cp -a "$3/." "$2/root/"
mkdir -p "$2/root/etc/systemd/system/multi-user.target.wants"
ln -s ../check.service "$2/root/etc/systemd/system/multi-user.target.wants/check.service"
timeout --kill-after=10 "$4" systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$2/root" --boot </dev/null || true
cat "$2/root/results" >"$3/results"
cat "$2/root/output" >"$3/output"
"""


def debian():
    """A small Debian, made once."""
    place = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "systemd-root"
    if not (place / ".made").exists():
        shutil.rmtree(place, ignore_errors=True)
        packages = "systemd,systemd-sysv,dbus,curl,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, place, MIRROR], check=True, stdout=subprocess.DEVNULL)
        (place / ".made").touch()
    return place


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target" / "dist").resolve()
    package = next(out.glob("vmutils_*.deb"), None)
    missing = [tool for tool in ("debootstrap", "systemd-nspawn", "unshare") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing or not package:
        raise SystemExit(f"this needs root, debootstrap, systemd-container, and a package from deploy/build; missing: {missing or package or out}")
    kit.leave_cleanly_on_signals()
    try:
        own = kit.folder("own")
        own.chmod(0o755)   # it becomes the mode of the root
        shutil.copy(package, own / "vmutils.deb")
        (own / "check.sh").write_text(SCRIPT)
        (own / "etc/systemd/system").mkdir(parents=True)
        (own / "etc/systemd/system/check.service").write_text(UNIT)
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", START, "start", debian(), kit.folder("layer"), own, str(LIMIT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        results = (own / "results").read_text().splitlines() if (own / "results").exists() else []
        output = (own / "output").read_text() if (own / "output").exists() else ""
        for line in results[:-1]:
            status, name, said = line.split("\t", 2)
            kit.check(name, status == "0", f"status {status}: {said}")
        kit.check("all of it was run", results[-1:] == ["end"], (done.stdout[-1500:], done.stderr[-1500:], output[-1500:]))
        return kit.summary()
    finally:
        kit.clean_up()


if __name__ == "__main__":
    raise SystemExit(main())
