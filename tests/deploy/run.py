#!/usr/bin/env python3
"""What deploy/build has made, used as it will be: images started in an empty read-only root, archive, package, units, manifests, and the
arguments that upstream's operator, charts and Ansible roles pass.

    run.py FOLDER          FOLDER is what `deploy/build --out` was given, target/dist by default

One line a check; ends with `N passed, N failed`, and with status 1 if anything failed. Without root or systemd's tools the checks that
need them are left out, and a line says so.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "real")]

import kit  # noqa: E402
import arguments  # noqa: E402
import containerfile  # noqa: E402
import image  # noqa: E402
import manifests  # noqa: E402
import packages  # noqa: E402


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "target" / "dist").resolve()
    kit.leave_cleanly_on_signals()
    try:
        for module in (packages, image, containerfile, manifests, arguments):
            try:
                module.run(out)
            except Exception:
                kit.check(module.__name__, False, traceback.format_exc())
        return kit.summary()
    finally:
        kit.clean_up()


if __name__ == "__main__":
    if not shutil.which("dpkg-deb") or os.name != "posix":
        raise SystemExit("this needs a Debian")
    raise SystemExit(main())
