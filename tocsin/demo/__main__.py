"""Run the demo: exit status 0 only if everything that had to happen was seen to happen."""

from __future__ import annotations

import base64
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from tocsin.clock import SystemClock
from tocsin.demo.neighbours import Neighbours, NotSeen, neighbours, server
from tocsin.demo.story import Story

WIDTH_MAX = 110

_HERE = Path(__file__).parent
_WRITTEN_PORT = "127.0.0.1:8711"


def main() -> int:
    """Tell the story; return the exit status."""
    screen = Console(highlight=False, emoji=False, markup=False)
    screen.width = min(screen.width, WIDTH_MAX) if screen.is_terminal else WIDTH_MAX
    started_s = SystemClock().monotonic_s()
    screen.print(Text("tocsin: events in, judgement, actions out", style="bold"))
    with TemporaryDirectory(prefix="tocsin-demo-") as name, neighbours() as around:
        folder = Path(name)
        try:
            seen = _run(folder, around, screen)
        except NotSeen as error:
            screen.print(Text(f"\nThis had to happen and did not: {error}", style="bold red"))
            if (log := folder / "server.log").exists():
                screen.print(Text("\n".join(log.read_text(errors="replace").splitlines()[-20:])))
            return 1
    took_s = SystemClock().monotonic_s() - started_s
    screen.print(Text(f"\nAll of it happened: {seen} checks held, in {took_s:.1f} s.", style="bold green"))
    screen.print("The definitions are in examples/demo/definitions.yaml; next: the ten minutes of docs/tutorial.md")
    return 0


def _run(folder: Path, around: Neighbours, screen: Console) -> int:
    text = (_HERE / "definitions.yaml").read_text(encoding="utf-8")
    (folder / "definitions.yaml").write_text(text.replace(_WRITTEN_PORT, f"127.0.0.1:{around.port}"), encoding="utf-8")
    keys = {
        "GITHUB_SECRET": secrets.token_hex(16),
        "INCIDENT_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
    }
    with server(folder, keys) as running:
        screen.print(Text(running.greeting, style="dim"))
        story = Story(running, around, folder=folder, secrets=keys, screen=screen)
        story.tell()
        if status := running.stop():
            raise NotSeen(f"the server ends gracefully; its exit status is {status}")
    return story.seen + 1


if __name__ == "__main__":
    sys.exit(main())
