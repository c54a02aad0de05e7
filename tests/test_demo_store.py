"""What the page keeps and works on: recordings for a time, jobs in a queue that has an end."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'audiocodec[demo]'")
from audiocodec.demo.limits import Limits
from audiocodec.demo.pool import AbandonedError, BusyError, Pool, check_wanted
from audiocodec.demo.store import ForgottenError, Recording, Store


def recording(size: int) -> Recording:
    return Recording("a.wav", bytes(size), "audio", 1.0, 16000, 1, "speech-16k")


def test_recordings_are_kept_for_a_time_a_number_and_a_size() -> None:
    now = 0.0
    store = Store(Limits(kept_s=10.0, kept_recordings=3, kept_bytes=100), clock=lambda: now)
    keys = [store.add(recording(10)) for _ in range(4)]
    assert len(set(keys)) == 4
    with pytest.raises(ForgottenError):
        store.get(keys[0])
    now = 8.0
    store.get(keys[2])
    now = 12.0
    for key in (keys[1], keys[3]):
        with pytest.raises(ForgottenError):
            store.get(key)
    assert store.get(keys[2])
    big = store.add(recording(500))
    assert len(store) == 1
    assert store.get(big)


def test_the_queue_has_an_end() -> None:
    async def crowd() -> list[object]:
        pool, gate = Pool(workers=1, queue=1), threading.Event()
        waiting = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        found.append(await pool.run(lambda: "again"))
        return found

    first, second, third, again = asyncio.run(crowd())
    assert (first, second, again) == (True, True, "again")
    assert isinstance(third, BusyError)


def test_work_that_nobody_waits_for_ends() -> None:
    async def leave() -> bool:
        return True

    pool = Pool(workers=1, queue=0)
    with pytest.raises(AbandonedError):
        asyncio.run(pool.run(endless, leave))
    assert asyncio.run(pool.run(lambda: "again", leave)) == "again"


def test_all_work_ends_with_the_server() -> None:
    async def end() -> list[object]:
        pool = Pool(workers=1, queue=1)
        running = [asyncio.create_task(pool.run(endless)) for _ in range(2)]
        await asyncio.sleep(0)
        pool.end()
        found: list[object] = list(await asyncio.gather(*running, return_exceptions=True))
        with pytest.raises(AbandonedError):
            await pool.run(lambda: "nothing is begun any more")
        return found

    assert [type(one) for one in asyncio.run(end())] == [AbandonedError, AbandonedError]


def endless() -> None:
    while True:
        check_wanted()
