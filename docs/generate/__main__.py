"""Write every generated page and picture below `docs/`."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.generate.pages import generated

DOCS = Path(__file__).parent.parent

for name, text in generated(DOCS).items():
    path = DOCS / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
