"""VP's queue of latents: order, merging, search, and processes that train together."""

import socket

import torch
from torch import multiprocessing

from audiocodec.bottleneck.memory import LatentQueue
from audiocodec.bottleneck.vp import VP
from audiocodec.config import VpConfig


def test_queue_forgets_the_oldest_and_merges_in_parts():
    queue = LatentQueue(640, 1)
    for i in range(1000):
        queue.push(torch.tensor([[float(i)]]))
        held = sorted(queue.latents.flatten().tolist())
        last = int(held[-1])
        assert i - last <= 10  # a 64th of the capacity waits at most
        assert held == [float(x) for x in range(max(0, last - 639), last + 1)]
    assert len(queue) == 640
    queue.push(torch.arange(5000.0)[:, None])
    assert queue.latents.min() >= 4350


def test_queue_search_follows_what_is_pushed_and_the_device():
    torch.manual_seed(0)
    queue, exact = LatentQueue(4096, 3), LatentQueue(4096, 3, exact=True)
    for _ in range(6):
        rows = torch.randn(1500, 3)
        queue.push(rows)
        exact.push(rows)
        q = torch.randn(50, 3)
        torch.testing.assert_close(queue.distances(q, (8, 48)), exact.distances(q, (8, 48)), rtol=0.05, atol=0)
    before = queue.distances(q, (8,))
    assert torch.equal(queue.to("cpu").distances(q, (8,)), before)
    assert queue.half().distances(q, (8,)).dtype == torch.float32


def _worker(rank, port, out):
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    vp = VP(VpConfig(codebook_size=32, push_fraction=0.3), 2)
    for step in range(8):
        frames = 40 + 30 * rank + step  # ranks hold batches of different sizes
        vp(torch.randn(1, frames, 2) + 10 * rank, torch.tensor([[32]]))
    torch.save({"state": vp.state_dict(), "codebook": vp.codebook(16)}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_latents_of_every_process_reach_every_queue(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert torch.equal(first["codebook"], second["codebook"])
    held = first["state"]["queues.0.queue"][: int(first["state"]["queues.0.filled"])]
    assert (held[:, 0] < 5).sum() > 50
    assert (held[:, 0] > 5).sum() > 50
