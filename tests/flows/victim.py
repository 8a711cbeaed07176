"""A server that tests kill: `python -m tests.flows.victim FOLDER running|gate`.

It works on the run that waits in the folder's store, and prints `ready` when that is running, or stands at its gate.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.flows.bench import Bench, until
from tocsin.schemas.run import Run, RunState

SCRIPT = "echo begun >> began; echo begun; sleep 600 & wait"


async def serve(bench: Bench, moment: str) -> None:
    bench.shell(SCRIPT)
    if moment == "gate":

        async def stand(run: Run, process: str) -> bool:
            sys.stdout.write(f"ready {process}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
            return False

        bench.worker._records.start = stand  # type: ignore[method-assign]
    await bench.worker.start()
    await until(lambda: bench.run().state is RunState.RUNNING and "begun" in bench.log())
    sys.stdout.write(f"ready {bench.run().process}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Bench(Path(sys.argv[1])), sys.argv[2]))
