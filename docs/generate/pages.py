"""Which pages and pictures are generated, and by what."""

from __future__ import annotations

from pathlib import Path

from docs.generate.cli_page import cli_page
from docs.generate.events_page import events_page
from docs.generate.http_page import http_page
from docs.generate.settings_page import settings_page
from docs.generate.timeline import pictures
from docs.generate.yaml_page import yaml_page

LAWS = "laws.yaml"


def generated(docs: Path) -> dict[str, str]:
    """Return the text of each generated file by its path below `docs`."""
    pages = {
        "reference/yaml.md": yaml_page(),
        "reference/cli.md": cli_page(),
        "reference/settings.md": settings_page(),
        "reference/http.md": http_page(),
        "reference/events.md": events_page(),
    }
    drawn = {f"pictures/{name}.svg": svg for name, svg in pictures(docs / LAWS).items()}
    return {name: text.rstrip("\n") + "\n" for name, text in (pages | drawn).items()}
