"""The files that a deployment is made of agree with the program, and keep their promises."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import typer

from tests.deploy.composed import FILE, GIVEN, ROOT, VARIABLE, Missing, document, own, services
from tests.servers import free_port
from tocsin.cli import app
from tocsin.settings import ROLES, Settings

SETTINGS = {f"TOCSIN_{name.upper()}" for name in Settings.model_fields}
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "env_file", "environment", "healthcheck", "image", "init",
    "logging", "ports", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
"""What of Compose's own keys is used here; another one is a mistake, or belongs into this list."""

HEALTH_KEYS = {"test", "interval", "timeout", "start_period", "start_interval", "retries", "disable"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BUILT, RESULT = DOCKERFILE.split("\nFROM ")[1:]


def lines(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


# docker-compose.yml


def test_compose_knows_every_key() -> None:
    read = document()
    assert {key for key in read if not key.startswith("x-")} == {"name", "services", "volumes"}
    for service in read["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert set(service.get("healthcheck", ())) <= HEALTH_KEYS
        assert service["restart"] in {"no", "unless-stopped"}


def test_every_role_is_a_service_and_two_of_them_judge() -> None:
    found = own(GIVEN)
    roles = [one["command"][one["command"].index("--roles") + 1] for name, one in found.items() if name != "migrate"]
    assert sorted(roles) == sorted(ROLES)
    assert list(found) == ["migrate", *ROLES]
    assert found["evaluator"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", own(GIVEN))
def test_every_command_is_one_of_ours(name: str) -> None:
    command: Any = typer.main.get_command(app)
    first, *rest = own(GIVEN)[name]["command"]
    context = command.commands[first].make_context(first, rest)
    if first == "serve":
        Settings(roles=context.params["roles"], database="postgresql://p", bus="redis://r")


@pytest.mark.parametrize("name", own(GIVEN))
def test_every_setting_is_one_of_ours_and_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = own(GIVEN)[name]["environment"]
    assert set(given) <= SETTINGS
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    read = Settings()
    assert read.database == "postgresql://tocsin:postgres-password@postgres:5432/tocsin"
    assert read.bus == "redis://:redis-password@redis:6379/0"


@pytest.mark.parametrize("missing", GIVEN)
def test_nothing_starts_without_passwords_of_ones_own(missing: str) -> None:
    for given in (GIVEN | {missing: ""}, {name: value for name, value in GIVEN.items() if name != missing}):
        with pytest.raises(Missing, match=rf"^{missing} is not set, see \.env\.example$"):
            services(given)


def test_the_example_of_the_environment_names_every_variable_and_no_password() -> None:
    used = {found["name"]: found for found in VARIABLE.finditer(FILE.read_text(encoding="utf-8")) if found["name"]}
    required = {name for name, found in used.items() if found["operator"] == ":?"}
    assert required == set(GIVEN)
    example = [line for line in lines(".env.example") if re.match(r"#?[A-Z_]+=", line)]
    assert {line.removesuffix("=") for line in example if line.endswith("=")} == required
    assert {line.lstrip("#") for line in example if not line.endswith("=")} == {
        f"{name}={found['rest']}" for name, found in used.items() if found["operator"] == ":-"
    }
    ignored = lines(".gitignore")
    assert {".env", "secrets.env"} <= set(ignored)


def test_only_the_api_is_published_and_on_loopback() -> None:
    published = {name: one["ports"] for name, one in services(GIVEN).items() if "ports" in one}
    assert published == {"api": ["127.0.0.1:8710:8710"]}


def test_services_can_write_nothing_but_their_volumes_and_gain_no_rights() -> None:
    for name, one in services(GIVEN).items():
        assert one["read_only"] is True, name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert name in {"postgres", "redis"} or one["cap_drop"] == ["ALL"]


def test_who_waits_for_whom_exists_and_can_be_waited_for() -> None:
    found = services(GIVEN)
    for one in found.values():
        for needed, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert found[needed]["healthcheck"]["test"]
            else:
                assert (how["condition"], found[needed]["restart"]) == ("service_completed_successfully", "no")


def test_every_volume_is_declared_and_definitions_are_read_only() -> None:
    mounted = [tuple(volume.split(":")) for one in services(GIVEN).values() for volume in one.get("volumes", ())]
    named = {source for source, *_ in mounted if not source.startswith(".")}
    assert named == set(document()["volumes"])
    folders = [(Path(source), target, *mode) for source, target, *mode in mounted if source.startswith(".")]
    assert set(folders) == {(Path("examples/automations"), "/definitions", "ro")}
    assert (ROOT / "examples/automations").is_dir()


def test_redis_answers_when_it_has_written_and_throws_nothing_away() -> None:
    command = services(GIVEN)["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["--appendonly"] == "yes"
    assert given["--appendfsync"] == "always"
    assert given["--no-appendfsync-on-rewrite"] == "no"
    assert given["--maxmemory-policy"] == "noeviction"


# Dockerfile


def test_the_image_runs_as_nobody_special_and_has_nothing_that_builds() -> None:
    assert re.search(r"^USER (\d+)", RESULT, re.MULTILINE)[1] != "0"  # type: ignore[index]
    assert "COPY --from=build /opt/tocsin /opt/tocsin" in RESULT
    assert "apt-get" not in DOCKERFILE
    assert "pip uninstall" in RESULT
    assert "--without-pip" in BUILT


def test_both_stages_stand_on_one_python_that_is_supported() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}-slim-bookworm"] * 2
    version = re.search(r"^ARG PYTHON=3\.(\d+)$", DOCKERFILE, re.MULTILINE)
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version is not None
    assert int(version[1]) >= int(least.removeprefix(">=3."))


def test_the_image_has_extras_that_exist() -> None:
    extras = re.search(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"postgres", "metrics"} <= set(extras[1].split(",")) <= set(known)


def test_what_is_copied_into_the_image_is_there_and_sent_to_the_builder() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--)(.*)$", BUILT, re.MULTILINE) for word in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    assert copied == {line[1:] for line in lines(".dockerignore") if line.startswith("!")}


def test_the_health_check_of_the_image_is_a_program_that_asks_whether_the_server_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = re.search(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", RESULT, re.MULTILINE)
    assert found is not None
    python, option, script = json.loads(found[1])
    assert (python, option) == ("python", "-c")
    monkeypatch.setenv("TOCSIN_PORT", str(free_port()))
    with pytest.raises(URLError):  # nobody is there
        exec(compile(script, "Dockerfile", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own file
    assert "/healthz" in script


def test_what_the_image_sets_are_settings() -> None:
    assert set(re.findall(r"\b(TOCSIN_[A-Z_]+)=", RESULT)) <= SETTINGS
