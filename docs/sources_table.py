"""The table of training data in a model's card, from the ``sources.json`` that the preparation script wrote.

python docs/sources_table.py pretrained/speech-16k/sources.json docs/results/speech-16k-sources.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
lines = ["| Debian package | version | hours | recordings | licence | copyright |", "|---|---|---:|---:|---|---|"]
for row in rows:
    lines.append(
        f"| {row['package']} | {row['version']} | {row['hours']:.2f} | {row['recordings']} | {row['licence']} "
        f"| [file]({row['copyright']}) |"
    )
total = sum(row["hours"] for row in rows)
lines.append(f"| all | | {total:.2f} | {sum(row['recordings'] for row in rows)} | | |")
Path(sys.argv[2]).write_text("\n".join(lines) + "\n", encoding="utf-8")
