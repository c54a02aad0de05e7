"""audiocodec: a causal neural audio codec whose bitrate is chosen after training."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "AsyncStreamDecoder",
    "AsyncStreamEncoder",
    "Codec",
    "StreamDecoder",
    "StreamEncoder",
    "StreamGroup",
    "Tokens",
    "flush_many",
    "load",
    "push_many",
]

if TYPE_CHECKING:
    from audiocodec.codec import Codec, Tokens, load
    from audiocodec.streaming import StreamDecoder, StreamEncoder
    from audiocodec.streaming.asynchronous import AsyncStreamDecoder, AsyncStreamEncoder
    from audiocodec.streaming.groups import StreamGroup, flush_many, push_many

_HOMES = {
    "AsyncStreamDecoder": "audiocodec.streaming.asynchronous",
    "AsyncStreamEncoder": "audiocodec.streaming.asynchronous",
    "StreamDecoder": "audiocodec.streaming",
    "StreamEncoder": "audiocodec.streaming",
    "StreamGroup": "audiocodec.streaming.groups",
    "flush_many": "audiocodec.streaming.groups",
    "push_many": "audiocodec.streaming.groups",
}


def __getattr__(name: str) -> object:
    # Public names load on first use: importing the package must not import torch.
    if name not in __all__:
        raise AttributeError(f"module 'audiocodec' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "audiocodec.codec")), name)
