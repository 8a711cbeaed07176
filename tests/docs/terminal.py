"""A reader at two terminals: types what a page shows, and compares what the page says with what comes back.

What differs each time is the same to the reader: moments, made-up ids, the port, and how wide columns are. In what a
page shows, `…` at the end of a line stands for the rest of it, and a line `...` for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGABRT
from threading import Event

from tests.docs.blocks import Block

PATIENCE_S = 60.0
WRITTEN = "127.0.0.1:8710"
"""Where the server is in the pages."""

# What pages use of curl, for machines without one; like curl, it sends a form unless told otherwise.
CURL = f"""\
#!{sys.executable}
import argparse, urllib.error, urllib.request
ask = argparse.ArgumentParser()
ask.add_argument("url")
ask.add_argument("-d", dest="data")
for flag in ("-s", "-f", "-S", "-fsS", "-sS"):
    ask.add_argument(flag, action="store_true", dest="quiet")
given = ask.parse_args()
data = None if given.data is None else given.data.encode()
try:
    answer = urllib.request.urlopen(urllib.request.Request("http://" + given.url.removeprefix("http://"), data))
except urllib.error.HTTPError as refusal:
    answer = refusal
print(answer.read().decode())
"""

_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<moment>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r" {2,}"), "  "),
)


def masked(text: str) -> str:
    """Return a text without what differs each time."""
    for mask, stands_for in _MASKS:
        text = mask.sub(stands_for, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def pattern(shown: str) -> re.Pattern[str]:
    """Return what matches the output that a page shows."""
    lines = masked(shown).split("\n") if shown.strip() else []
    parts = [r"(?:.*\n)*?" if line == "..." else _line(line) + r"\n" for line in lines]
    return re.compile("".join(parts))


def _line(shown: str) -> str:
    start, rest, _ = shown.partition("…")
    return re.escape(start.rstrip() if rest else start) + (".*" if rest else "")


class Reader:
    """Types in a folder of its own; the server of the page's second terminal runs on a free port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder.with_name("second-terminal.log")
        self._address = WRITTEN
        programs = folder.with_name("programs")
        programs.mkdir()
        (programs / "curl").write_text(CURL)
        (programs / "curl").chmod(0o755)
        path = os.pathsep.join(map(str, (programs, Path(sys.executable).parent, os.environ["PATH"])))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        self._env = clean | {"PATH": path, "NO_COLOR": "1", "PYTHONFAULTHANDLER": "1"}
        self._env.pop("FORCE_COLOR", None)
        self._server: subprocess.Popen[bytes] | None = None

    def write(self, block: Block) -> None:
        """Put a file where its title says."""
        path = self._folder / block.title
        assert path.parent.is_dir(), f"{block}: nobody has made the folder of {block.title}"
        path.write_text(block.text)

    def type(self, block: Block) -> None:
        """Type the commands of a block, and compare what each says with what the block shows."""
        for command, shown in _commands(block.text):
            done = subprocess.run(
                ["sh", "-c", command.replace("localhost:8710", self._address)],
                cwd=self._folder, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=PATIENCE_S, check=False,
            )  # fmt: skip
            said = masked(done.stdout.replace(self._address, WRITTEN))
            said = f"{said}\n" if said else ""
            assert pattern(shown).fullmatch(said), f"{block}: {command}\nshown:\n{masked(shown)}\nsaid:\n{said}"

    def run_python(self, code: str) -> None:
        """Run a program against the server."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self._folder, env=self._env, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def watch(self, block: Block) -> None:
        """Look at the second terminal until it shows what the block shows; its command starts the server."""
        shown = block.text
        if shown.startswith("$ "):
            ((command, shown),) = _commands(block.text)
            self.serve(command)
        wanted, pause = pattern(shown), Event()
        for _ in range(300):
            if wanted.search(self._second_terminal()):
                return
            pause.wait(PATIENCE_S / 300)
        raise AssertionError(f"{block}: shown:\n{masked(shown)}\nsaid:\n{self._second_terminal()}")

    def serve(self, command: str) -> None:
        """Start the server, as the second terminal does."""
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                ["sh", "-c", f"exec {command} --port 0"], cwd=self._folder, env=self._env, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        listening, pause = re.compile(r"listens on http://(127\.0\.0\.1:\d+)"), Event()
        for _ in range(300):
            if found := listening.search(self._log.read_text()):
                self._address = found[1]
                self._env["TOCSIN_URL"] = f"http://{self._address}"
                return
            pause.wait(PATIENCE_S / 300)
        self._server.send_signal(SIGABRT)  # Python's fault handler then says where it stands
        self._server.wait(PATIENCE_S)
        raise AssertionError(f"the server does not listen:\n{self._log.read_text()}")

    def _second_terminal(self) -> str:
        return masked(self._log.read_text().replace(self._address, WRITTEN)) + "\n"

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(PATIENCE_S)


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Return the commands of a block, each with the output shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown
