"""Whether the coders of payloads in C are there, decided in this one place.

It is optional: an install without a compiler goes without it, and ``AUDIOCODEC_NATIVE=0`` in the environment leaves it
alone. The code is the same to the byte either way; the reference in Python takes ten times as long and more.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

VARIABLE = "AUDIOCODEC_NATIVE"
_NAMES = ("Coder", "RawCoder", "encode_intervals")


def _load() -> tuple[ModuleType | None, str]:
    if os.environ.get(VARIABLE) == "0":
        return None, f"turned off: {VARIABLE} is 0"
    try:
        module = importlib.import_module("audiocodec.bitstream._native")
    except ModuleNotFoundError:
        return None, "not built: there was no C compiler when audiocodec was installed"
    except ImportError as error:
        return None, f"broken: {error}"
    if not all(hasattr(module, name) for name in _NAMES):  # a checkout goes on, and what was built in it stays
        return None, "built from an older version: install audiocodec again"
    return module, ""


extension, absence = _load()
"""The module of ``_native.c``, or None and why it is not used."""
