"""Servers that tests need and that are not there are installed, where that asks nobody anything: as root, on Debian."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

APT = ("apt-get", "-o", "DPkg::Lock::Timeout=120")
"""Waits for whoever else installs something."""


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
    wanted = [*APT, "install", "-y", "-qq", "--no-install-recommends", package]
    with (Path(tempfile.gettempdir()) / "tocsin-tests-install.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)  # `update` waits for nobody: it would fail while another test updates
        for command in (wanted, [*APT, "update", "-qq"], wanted):  # the lists of packages may be missing or old
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            if command is wanted and done.returncode == 0:
                return True
    return False
