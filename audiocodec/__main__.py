"""``python -m audiocodec`` and the ``audiocodec`` command."""

from __future__ import annotations

import sys

from audiocodec.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
