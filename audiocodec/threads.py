"""One thread for inference, whatever the caller uses elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside, and give the caller its count back.

    Kernels split their work by thread, and where they split decides whether a value goes through vector or scalar
    code: the last bit then depends on the thread count. Small blocks are also fastest on one thread (with two, the
    same work took up to fifty times longer on a busy machine).
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
