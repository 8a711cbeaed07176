"""Settings: one environment variable each, flags win, nothing that only looks like protection."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tocsin.settings import ROLES, Settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TOCSIN_{name.upper()}", raising=False)


def test_the_defaults_are_those_that_are_documented() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.home) == ("127.0.0.1", 8710, Path(".tocsin"))
    assert (settings.settle, settings.blind_after, settings.lateness, settings.max_depth) == (
        timedelta(seconds=60), timedelta(seconds=10), timedelta(seconds=60), 3,
    )  # fmt: skip
    assert (settings.event_bytes, settings.batch_events, settings.batch_bytes) == (1 << 20, 10_000, 16 << 20)
    assert (settings.name_chars, settings.labels, settings.related) == (1_024, 500, 100)


def test_the_environment_is_read_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SETTLE", "2m")
    monkeypatch.setenv("TOCSIN_PORT", "9000")
    monkeypatch.setenv("TOCSIN_ALLOW_HOSTS", "example.org, ci.internal,")
    monkeypatch.setenv("TOCSIN_API_SECRETS", "HOOK")
    settings = Settings(port=9001)
    assert (settings.settle, settings.port) == (timedelta(minutes=2), 9001)
    assert settings.allow_hosts == {"example.org", "ci.internal"}
    assert settings.api_secrets == {"HOOK"}


def test_a_setting_can_not_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])  # noqa: S104 - refused
def test_other_than_loopback_needs_a_token(host: str) -> None:
    with pytest.raises(ValidationError, match="needs TOCSIN_TOKEN"):
        Settings(host=host)
    assert Settings(host=host, token="secret").host == host
    assert Settings(host="::1").token is None


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("name", ["token", "emit_token"])
def test_an_empty_token_is_no_token(name: str, empty: str) -> None:
    values: dict[str, Any] = {"token": "secret", name: empty}
    with pytest.raises(ValidationError, match="keeps nobody out"):
        Settings(**values)


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `TOCSIN_TOKEN=` in a compose file does."""
    monkeypatch.setenv("TOCSIN_TOKEN", "")
    monkeypatch.setenv("TOCSIN_HOME", "")
    assert (Settings().token, Settings().home) == (None, Path(".tocsin"))
    with pytest.raises(ValidationError, match="needs TOCSIN_TOKEN"):
        Settings(host="0.0.0.0")  # noqa: S104 - refused


def test_a_token_for_events_alone_would_protect_nothing() -> None:
    with pytest.raises(ValidationError, match="protects nothing without TOCSIN_TOKEN"):
        Settings(emit_token="emit")


@pytest.mark.parametrize(
    "wrong", [{"port": 70_000}, {"settle": "soon"}, {"settle": -1}, {"blind_after": "1s"}, {"log_level": "loud"}]
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = Settings(token="swordfish", emit_token="sesame", database="postgresql://u:hunter2@db/tocsin")
    text = f"{settings!r} {settings}"
    assert not any(secret in text for secret in ("swordfish", "sesame", "hunter2"))


def test_the_database_is_in_the_home_unless_it_is_named(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).database_url() == f"sqlite:///{tmp_path / 'tocsin.db'}"
    assert Settings(home=Path("here")).database_url() == f"sqlite:///{Path.cwd() / 'here' / 'tocsin.db'}"
    assert Settings(database="postgresql://db/tocsin").database_url() == "postgresql://db/tocsin"


@pytest.mark.parametrize("database", [None, "sqlite:///somewhere/tocsin.db"])
@pytest.mark.parametrize("roles", ["api", "evaluator,dispatcher", frozenset({"worker"})])
def test_roles_are_divided_over_a_shared_database_only(roles: Any, database: str | None) -> None:
    with pytest.raises(ValidationError, match="share a PostgreSQL database: set TOCSIN_DATABASE"):
        Settings(roles=roles, database=database)
    assert Settings(roles=frozenset(ROLES), database=database).roles == frozenset(ROLES)
    assert Settings(roles=roles, database="postgresql://p/n").roles < frozenset(ROLES)


def test_a_process_without_a_role_is_refused() -> None:
    with pytest.raises(ValidationError, match="name some of api, recorder, evaluator, dispatcher, worker"):
        Settings(roles=",", database="postgresql://p/n")


@pytest.mark.parametrize("database", [None, "sqlite:///somewhere/tocsin.db"])
def test_a_bus_needs_a_shared_database(database: str | None) -> None:
    with pytest.raises(ValidationError, match="set TOCSIN_DATABASE, or leave out TOCSIN_BUS"):
        Settings(bus="redis://r", database=database)
    assert Settings(bus="redis://r", database="postgresql://p/n").bus == "redis://r"


def test_a_recorder_needs_a_bus() -> None:
    given: dict[str, Any] = {"database": "postgresql://p/n", "roles": "api,recorder"}
    with pytest.raises(ValidationError, match="set TOCSIN_BUS, or leave that role out"):
        Settings(**given)
    assert Settings(**given, bus="redis://r").roles == {"api", "recorder"}


def test_where_the_api_is_found_is_an_address() -> None:
    assert Settings(url="http://api:8710").url == "http://api:8710"
    with pytest.raises(ValidationError, match="url"):
        Settings(url="api:8710")
