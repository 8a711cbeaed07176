"""Servers that tests need and that are not there are installed, where that asks nobody anything: as root, on Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache


def can_install() -> bool:
    """Return whether packages of the system can be installed without questions."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@cache
def install(package: str) -> bool:
    """Install a package of the system, once in a test run; return whether that has worked."""
    if not can_install():
        return False
    print(f"installing {package} for the tests ...", file=sys.stderr)  # noqa: T201 - it takes a while
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    wanted = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    for command in (wanted, ["apt-get", "update", "-qq"], wanted):  # the lists of packages may be missing or old
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if command is wanted and done.returncode == 0:
            return True
    return False
