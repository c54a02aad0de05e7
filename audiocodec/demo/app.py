"""The page's addresses: what is asked of a URL, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from audiocodec import models
from audiocodec.demo import answers
from audiocodec.demo.guard import Guard
from audiocodec.demo.limits import Limits
from audiocodec.demo.live import LiveDoor
from audiocodec.demo.pool import Pool
from audiocodec.demo.store import Recording, Store
from audiocodec.demo.studio import Load, Studio
from audiocodec.demo.transfer import Delivery, Places, body

LOCAL_NAMES = ("localhost", "localhost.localdomain")
SWEEP_S = 30.0
MOST_SEED = 2**32
VERSIONS = ("original", "ours", "opus")


class Demo:
    """The handlers, and what they share."""

    def __init__(self, load: Load, limits: Limits) -> None:
        self.limits = limits
        self.store = Store(limits)
        self.studio = Studio(load, limits)
        self.pool = Pool(limits.workers, limits.queue)
        self.live = LiveDoor(self.studio, limits)
        self.uploading = Places(limits.uploads, "several people are sending recordings just now; try again in a moment")
        sent = "several people are being sent sound just now; try again in a moment"
        self.listening = Places(limits.listeners, sent, limits.listening_bytes)

    async def page(self, request: Request) -> Response:
        """The page itself and its parts; no other file has an address."""
        return answers.static(request.path_params.get("name", "index.html"))

    async def about(self, _: Request) -> Response:
        """Models, limits, and whether Opus is here."""
        known = [
            {"name": model.name, "description": model.description, "domain": model.domain, "automatic": model.automatic}
            for model in models.list_models()
        ]
        facts = {"models": known, "default": models.DEFAULT, "limits": self.limits.as_dict()}
        return JSONResponse(facts | {"opus_note": self.studio.opus_note})

    async def model(self, request: Request) -> Response:
        """The rates of one model."""
        codec = await self.pool.run(partial(self.studio.codec, request.path_params["name"]))
        rates = [{"levels": rate.base_levels, "kbps": rate.expected_bps / 1000} for rate in codec.rates]
        usual = codec.choose_rate().base_levels
        facts = {"sample_rate": codec.sample_rate, "latency_ms": 1000 * codec.latency_samples / codec.sample_rate}
        return JSONResponse(facts | {"rates": sorted(rates, key=lambda rate: rate["kbps"]), "usual": usual})

    async def upload(self, request: Request) -> Response:
        """Take a recording or a .vpc, whose bytes are the body."""
        name = answers.clean_name(request.query_params.get("name", ""))
        with self.uploading.one():
            data = await body(request, self.limits)
        if data is None:
            most = f"{self.limits.upload_bytes / 1e6:g} MB"
            return answers.error(413, f"{name} is larger than {most}, which is the most this page takes")
        recording = await self.pool.run(partial(self.studio.open, name, data), request.is_disconnected)
        return JSONResponse({"key": self.store.add(recording), **recording.told()}, status_code=201)

    async def forget(self, request: Request) -> Response:
        """Forget a recording: its page has another, or was closed."""
        self.store.remove(request.path_params["key"])
        return Response(status_code=204)

    async def progress(self, request: Request) -> Response:
        """What is being done to a recording."""
        recording = self.store.get(request.path_params["key"])
        return JSONResponse({"stage": recording.stage, "share": recording.share})

    async def coding(self, request: Request) -> Response:
        """Code a recording at a rate."""
        recording, model, levels = self._asked(request)
        coding = await self._work(request, recording, partial(self.studio.coding, recording, model, levels))
        return JSONResponse(answers.told(coding))

    async def opus(self, request: Request) -> Response:
        """Code it by Opus at the same bytes."""
        recording, model, levels = self._asked(request)
        coding = await self._work(request, recording, partial(self.studio.with_opus, recording, model, levels))
        if coding.opus is None:
            return JSONResponse({"note": coding.opus_note})
        return JSONResponse({"bytes": coding.opus.size, "kbps": coding.opus.kbps, "use": coding.opus.use})

    async def audio(self, request: Request) -> Response:
        """A recording to listen to: ``original``, ``ours`` or ``opus``, as WAV."""
        version = request.path_params["version"]
        if version not in VERSIONS:
            raise HTTPException(404)
        if version == "original":
            recording = self.store.get(request.path_params["key"])
            return self._wav(await self._work(request, recording, partial(self.studio.original, recording)))
        recording, model, levels = self._asked(request)
        if version == "opus":

            def decode_opus() -> bytes:
                coding = self.studio.with_opus(recording, model, levels)
                return self.studio.opus_decoded(recording, coding)

            return self._wav(await self._work(request, recording, decode_opus))
        loss = answers.number(request, "loss", 0.0, 1.0)
        seed = int(answers.number(request, "seed", 0, MOST_SEED))

        def decode() -> tuple[bytes, int, int]:
            return self.studio.decoded(recording, self.studio.coding(recording, model, levels), loss, seed)

        data, packets, lost = await self._work(request, recording, decode)
        return self._wav(data, {"x-packets": str(packets), "x-lost": str(lost)})

    async def file(self, request: Request) -> Response:
        """The .vpc, to be saved."""
        recording, model, levels = self._asked(request)
        coding = await self._work(request, recording, partial(self.studio.coding, recording, model, levels))
        name = recording.name if recording.kind == "vpc" else f"{recording.name.rpartition('.')[0] or 'recording'}.vpc"
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        return Delivery(coding.data, "application/octet-stream", headers, self.listening, self.limits)

    def _wav(self, data: bytes, headers: dict[str, str] | None = None) -> Response:
        return Delivery(data, "audio/wav", headers or {}, self.listening, self.limits)

    def _asked(self, request: Request) -> tuple[Recording, str, int]:
        recording = self.store.get(request.path_params["key"])
        levels = int(answers.number(request, "levels", 1, 1 << 20))
        return recording, request.query_params.get("model", ""), levels

    async def _work(self, request: Request, recording: Recording, job: Callable[[], Any]) -> Any:
        if not recording.stage:
            recording.stage = "waiting"
        return await self.pool.run(job, request.is_disconnected)


def make_app(
    load: Load, limits: Limits | None = None, names: Collection[str] = (), any_address: bool = False
) -> tuple[Guard, Callable[[], None]]:
    """The application, and what ends the work that it has in hand, to be called when the server is told to end.

    ``load`` gives the codec of a model's folder, the same one every time it is asked. The application answers to
    localhost and the host ``names``, and with ``any_address`` to every IP address.
    """
    demo = Demo(load, limits or Limits())

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(demo.store))
        yield
        sweeping.cancel()
        demo.pool.close()
        demo.live.close()

    kept = "/api/recordings/{key}"
    routes = [
        Route("/", demo.page),
        Route("/static/{name}", demo.page),
        Route("/api/about", demo.about),
        Route("/api/models/{name}", demo.model),
        Route("/api/recordings", demo.upload, methods=["POST"]),
        # A page that is being closed can send nothing but a POST.
        Route(f"{kept}/forget", demo.forget, methods=["POST"]),
        Route(f"{kept}/progress", demo.progress),
        Route(f"{kept}/coding", demo.coding, methods=["POST"]),
        Route(f"{kept}/opus", demo.opus, methods=["POST"]),
        Route(f"{kept}/audio/{{version:str}}", demo.audio),
        Route(f"{kept}/file", demo.file),
        WebSocketRoute("/api/live", demo.live.serve),
    ]
    app = Starlette(routes=routes, lifespan=life, exception_handlers=answers.HANDLERS)
    return Guard(app, (*LOCAL_NAMES, *names), any_address), demo.pool.end


async def _sweep(store: Store) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        store.sweep()
