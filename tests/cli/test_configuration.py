"""Every setting that users were promised is a variable of the environment; flags win."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.cli.configuration import read_settings
from tocsin.errors import TocsinError

PROMISED: dict[str, tuple[str, Any, Any]] = {
    "TOCSIN_HOME": ("there", Path("there"), Path("flag")),
    "TOCSIN_DATABASE": ("postgresql://db/tocsin", "postgresql://db/tocsin", "sqlite:///flag.db"),
    "TOCSIN_SETTLE": ("2m", timedelta(minutes=2), timedelta(hours=1)),
    "TOCSIN_LATENESS": ("90", timedelta(seconds=90), timedelta(hours=1)),
    "TOCSIN_MAX_DEPTH": ("5", 5, 7),
    "TOCSIN_API_SECRETS": ("A, B", frozenset({"A", "B"}), frozenset({"C"})),
    "TOCSIN_ALLOW_HOSTS": ("ci.internal", frozenset({"ci.internal"}), frozenset({"c"})),
    "TOCSIN_LOG_LEVEL": ("debug", "debug", "error"),
    "TOCSIN_LOG_FORMAT": ("json", "json", "text"),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*PROMISED, "TOCSIN_TOKEN", "TOCSIN_EMIT_TOKEN", "TOCSIN_HOST", "TOCSIN_PORT"]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", PROMISED)
def test_a_variable_sets_what_it_is_named_after_and_a_flag_wins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value, flag = PROMISED[name]
    field = name.removeprefix("TOCSIN_").lower()
    default = getattr(read_settings(), field)
    monkeypatch.setenv(name, text)
    assert getattr(read_settings(), field) == value != default
    assert getattr(read_settings(**{field: flag}), field) == flag
    assert read_settings().model_fields_set == {field}


def test_tokens_are_read_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN", "planted-admin")
    monkeypatch.setenv("TOCSIN_EMIT_TOKEN", "planted-emit")
    settings = read_settings()
    assert settings.token is not None
    assert settings.emit_token is not None
    assert (settings.token.get_secret_value(), settings.emit_token.get_secret_value()) == (
        "planted-admin", "planted-emit")  # fmt: skip
    assert "planted" not in str(settings)


@pytest.mark.parametrize(
    ("name", "text"),
    [("TOCSIN_SETTLE", "soon"), ("TOCSIN_MAX_DEPTH", "none"), ("TOCSIN_LOG_FORMAT", "xml"), ("TOCSIN_PORT", "99999")],
)
def test_a_variable_that_is_wrong_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(TocsinError, match=f"^{name}: "):
        read_settings()
