"""A server of its own process, in a home of its own, as a user starts it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_S = 600
_STOP_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A server that takes requests."""

    host: str
    port: int
    pid: int

    def rss_mb(self) -> float:
        """Return the resident memory of the process, in megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024 / 1e6

    def cpu_s(self) -> float:
        """Return the processor time that the process has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(home: Path, definitions: Path | None = None, **settings: str) -> AsyncIterator[Server]:
    """Run `tocsin serve` on a free port until the block ends, with these settings; it is ready when this yields."""
    command = [sys.executable, "-m", "tocsin", "serve", *([str(definitions)] if definitions else []), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    environment |= {"TOCSIN_HOME": str(home), "TOCSIN_LOG_LEVEL": "warning"}
    environment |= {f"TOCSIN_{name.upper()}": value for name, value in settings.items()}
    home.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else is under way
    with (home / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_READY_S):
                greeting = (await process.stdout.readline()).decode()
            found = re.search(r"http://([\d.]+):(\d+)", greeting)
            if found is None:
                raise RuntimeError(f"the server did not start: {(home / 'server.log').read_text()[-2000:]}")
            yield Server(found[1], int(found[2]), process.pid)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
