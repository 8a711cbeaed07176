"""Watching the definitions: no change of the files is lost, whatever keeps it from being applied at first."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.engine.live import automation, until
from tocsin.app import running
from tocsin.engine import watcher
from tocsin.engine.entries import Changes
from tocsin.engine.watcher import Watcher, signature
from tocsin.errors import Overloaded, Unavailable
from tocsin.settings import Settings
from tocsin.store import schema

NOTHING = Changes([], [], [], [])


class Apply:
    """Applies the files, or fails as a test tells it to, the first failure first."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times = 0

    async def __call__(self) -> Changes:
        self.times += 1
        if self.failures:
            raise self.failures.pop(0)
        return NOTHING


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    folder.mkdir()
    write(folder, "one")
    return folder


def write(folder: Path, *names: str) -> None:
    found = [automation({"expect": "a"}, name) for name in names]
    (folder / "a.yaml").write_text(json.dumps({"automations": found}))


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), Overloaded("too much is waiting")])
async def test_a_change_that_can_not_be_applied_now_is_tried_again_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    apply = Apply(error, error)
    watching = Watcher(folder, apply, seen=signature(folder))
    await watching.look()
    assert apply.times == 0
    write(folder, "one", "another")
    for times in (1, 2):
        await watching.look()
        assert apply.times == times
        assert watching.problem == f"the definitions at {folder} can not be applied now, it is tried again: {error}"
    assert [record.getMessage() for record in caplog.records] == [watching.problem]
    await watching.look()
    assert (apply.times, watching.problem) == (3, "")
    await watching.look()
    assert apply.times == 3


async def test_what_is_edited_while_the_server_starts_is_applied(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "LOOK_MS", 50)
    prepare = schema.prepare

    def edited(*arguments: Any, **more: Any) -> None:
        write(folder, "one", "another")
        prepare(*arguments, **more)

    monkeypatch.setattr(schema, "prepare", edited)
    async with running(Settings(home=tmp_path / "home"), folder) as app:
        await until(lambda: len(app.definitions.entries("automation")) == 2)


async def test_what_was_read_at_the_start_is_not_applied_once_more(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processes share a database it would take the place of what another has applied since."""
    monkeypatch.setattr(watcher, "LOOK_MS", 50)
    async with running(Settings(home=tmp_path / "home"), folder) as app:
        assert app.watcher is not None
        monkeypatch.setattr(app.watcher, "_apply", apply := Apply())
        await app.watcher.look()
    assert apply.times == 0


async def test_a_folder_that_can_not_be_read_does_not_end_the_watching(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither while it is looked at, nor where it can not even be watched."""
    monkeypatch.setattr(watcher, "LOOK_MS", 50)
    monkeypatch.setattr(watcher, "AWAY_S", 0.01)
    looks = 0

    def unreadable(path: Path) -> list[Path]:
        nonlocal looks
        looks += 1
        raise PermissionError(13, "Permission denied", str(path))

    def unwatchable(*_: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    apply = Apply()
    watching = Watcher(folder, apply, seen=signature(folder))
    with monkeypatch.context() as patched:
        patched.setattr(watcher, "definition_files", unreadable)
        watching.start()
        await until(lambda: looks > 2)
        patched.setattr(watcher, "awatch", unwatchable)
        seen = looks
        await until(lambda: looks > seen + 2)
        assert watching.problem.endswith("it is tried again: it can not be read: Permission denied")
        told = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert [record.getMessage() for record in told] == [watching.problem]
    await until(lambda: not watching.problem)
    assert apply.times
    await asyncio.wait_for(watching.close(), 20)
