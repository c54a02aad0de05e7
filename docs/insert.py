"""Put a generated table into the documents that show it, so that no figure is typed by hand.

    python docs/insert.py docs/results/speech-16k.md README.md pretrained/speech-16k/CARD.md

In each document the text between ``<!-- table NAME -->`` and ``<!-- /table -->`` is replaced, NAME being the table's
file name without its suffix.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def insert(table: Path, document: Path) -> None:
    """Replace the marked part of ``document`` by the contents of ``table``. Raises ValueError if it has no marks."""
    text = document.read_text(encoding="utf-8")
    marked = re.compile(rf"(<!-- table {re.escape(table.stem)} -->\n).*?(<!-- /table -->)", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{document} has no place for the table {table.stem}")
    contents = table.read_text(encoding="utf-8").strip()
    document.write_text(marked.sub(lambda m: f"{m[1]}{contents}\n{m[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        insert(Path(sys.argv[1]), Path(name))
