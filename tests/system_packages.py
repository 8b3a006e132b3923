"""Programs that the tests need and that pip cannot install: installs them when run as root, otherwise says what to run."""

import os
import shutil
import subprocess
import sys

PROGRAMS = {
    "e2fsck": "e2fsprogs",
    "gcc": "gcc",
    "faketime": "faketime",
    "mosquitto": "mosquitto",
    "softhsm2-util": "softhsm2",
    "systemd-analyze": "systemd",
}
"""Program to the Debian package that holds it."""
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Debian puts daemons where only root's PATH leads."""


def missing_packages() -> list[str]:
    """Packages whose program is not found, each once."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=PLACES) is None})


def main() -> int:
    """Exit status: 0 when all are there in the end."""
    missing = missing_packages()
    if not missing:
        return 0
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], install):
            if subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode != 0:
                print(f"failed: {' '.join(command)}", file=sys.stderr)
        missing = missing_packages()
    if missing:
        print(f"the tests need programs that are not installed. Run: sudo {' '.join(install)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
