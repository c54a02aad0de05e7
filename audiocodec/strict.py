"""The base of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all settings: unknown keys are refused, values are immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
