"""Write the table of settings in docs/operating.md anew, from the settings in devflow/config.py.

python docs/settings.py     or: make docs
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Final

from devflow.config import Settings

PAGE: Final = Path(__file__).with_name("operating.md")
BEGIN: Final = "<!-- settings: written by `make docs` -->\n"
END: Final = "<!-- settings end -->\n"


def with_table(page: str) -> str:
    """The page with its table as the settings are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"expected {BEGIN.strip()} and {END.strip()} in the page")
    return f"{before}{BEGIN}{table()}{END}{after}"


def table() -> str:
    rows = ["| variable | if not set | meaning |", "|---|---|---|"]
    for item in fields(Settings):
        default = f"`{item.default}`" if item.default else ""
        rows.append(f"| `{item.metadata['env']}` | {default} | {item.metadata['meaning']} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
