"""The server process: a socket, the running App, uvicorn over both, and signals that stop it gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from tocsin import __version__
from tocsin.api.asgi import asgi
from tocsin.app import App, running
from tocsin.cli.logs import configure
from tocsin.engine.garbage import short_collections
from tocsin.errors import Unavailable
from tocsin.settings import ROLES, Settings

BACKLOG = 2048
GRACE_S = 10
"""How long open requests may take to finish when the server stops."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: those raise the signal again before the App is torn down."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, path: Path | None) -> None:
    """Run a server until SIGINT or SIGTERM; a second one does not wait for open requests.

    Raises:
        Unavailable: the address is taken, or the home is another server's.
        InvalidDefinition: the definitions are wrong.
    """
    configure(settings.log_level, settings.log_format)
    gc.disable()  # until everything is loaded: what is made by then stays
    stopped_early = contextlib.suppress(asyncio.CancelledError)
    with stopped_early, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, path))


async def _serve(settings: Settings, path: Path | None) -> None:
    task = asyncio.current_task()
    assert task is not None
    with _on_signals(task.cancel), _listening(settings.host, settings.port) as listener:
        url = _url(listener)
        async with running(settings, path, url=lambda: url) as app:
            http = asgi(app)
            config = uvicorn.Config(
                http, http="httptools", lifespan="off", access_log=False, log_config=None, proxy_headers=False,
                backlog=BACKLOG, timeout_graceful_shutdown=GRACE_S, server_header=False, date_header=False,
            )  # fmt: skip
            server = _Server(config)

            def stop() -> None:
                server.force_exit = server.should_exit
                server.should_exit = True
                http.end_streams()

            with _on_signals(stop), short_collections():
                listener.listen(BACKLOG)
                print(_greeting(settings, app, url), flush=True)
                app.failed.add_done_callback(lambda _failed: stop())
                await server.serve(sockets=[listener])
            if app.failed.done():
                raise Unavailable(f"{app.failed.result()}: this process ends")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(settings: Settings, app: App, url: str) -> str:
    count = len(app.definitions.entries("automation"))
    what = f"{count} automation{'' if count == 1 else 's'}"
    where = f"home {settings.home}"
    if settings.roles != frozenset(ROLES):
        where = ",".join(role for role in ROLES if role in settings.roles)
    return f"tocsin {__version__} listens on {url} ({what}, {where})"


@contextlib.contextmanager
def _on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Return a bound socket, before anything else is opened."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        message = f"{host} is not an address of this machine ({error.strerror}): choose another --host"
        raise Unavailable(message) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            reason = f"can not listen on {host}:{port} ({error.strerror})"
            raise Unavailable(f"{reason}: stop what does, or choose another --port") from None
        yield listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, where there is a uvloop."""
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
