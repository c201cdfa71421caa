"""From decoded speech to announced chunks: the pipeline of one utterance, top to bottom."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from .delivery import Delivery
from .encode import UtteranceEncoder
from .engine import Engine, Utterance
from .errors import MuseTalkStreamError, RenderFailed
from .events import EventLog
from .frames import make_frames
from .schedule import may_start, next_chunk_frames
from .sse import Event
from .timeline import PART_FRAMES, chunk_frames, seconds

log = logging.getLogger(__name__)

# From an announced first chunk to its first frame on the screen: a request, an append, a paint.
PLAYER_DELAY_S = 0.12
# How long a first chunk takes where none has been measured yet.
_FIRST_CHUNK_GUESS_S = 0.1


async def perform(
    utterance: Utterance, engine: Engine, events: EventLog, delivery: Delivery
) -> None:
    """Run an utterance to its end and say how it ended, whatever happens."""
    engine.stats.utterances += 1
    try:
        await run_utterance(utterance, engine, events, delivery)
        log.info("%r: %.2f s spoken", utterance, delivery.duration_s)
    except asyncio.CancelledError:
        engine.stats.cancelled += 1
        events.publish({"event": "cancelled", "request_id": utterance.request_id})
        raise
    except Exception as exc:
        engine.stats.failed += 1
        events.publish(_failure(utterance, exc))


def _failure(utterance: Utterance, exc: Exception) -> Event:
    """Log why an utterance failed; the event that says so. Records get texts only: what keeps
    records (an error tracker) must not keep the utterance's sound."""
    if isinstance(exc, MuseTalkStreamError):
        error = exc
        log.error("%s failed: %s", repr(utterance), error.detail)
    else:
        error = RenderFailed("the server failed to make this video; its log says why")
        log.error("%s failed", repr(utterance), exc_info=exc)
    return {
        "event": "error",
        "message": error.detail,
        "code": error.code,
        "request_id": utterance.request_id,
    }


async def run_utterance(
    utterance: Utterance, engine: Engine, events: EventLog, delivery: Delivery
) -> None:
    async with _open_encoder(utterance, engine) as encoder:
        visible_in_s = engine.stats.typical_first_chunk_s(_FIRST_CHUNK_GUESS_S) + PLAYER_DELAY_S
        delivery.start(time.monotonic() + visible_in_s)
        delivery.first_event_id = events.publish(delivery.started_event(encoder.mime))

        speed, held = 0.0, list[Event]()
        while delivery.remaining:
            began = time.monotonic()
            lead_s = (delivery.runs_dry_s or began) - began
            if lead_s > engine.max_lead_s:
                await asyncio.sleep(lead_s - engine.max_lead_s)
                continue
            count = next_chunk_frames(
                fps=delivery.fps,
                remaining=delivery.remaining,
                limit=chunk_frames(utterance.options.chunk_duration_s, delivery.fps),
                lead_s=lead_s,
                speed=speed,
            )
            body = await _make_chunk(utterance, engine, encoder, delivery, count)
            file = await engine.store.put(utterance.request_id, delivery.chunks, body, encoder.mime)
            now = time.monotonic()
            late = now > (delivery.runs_dry_s or now)
            engine.stats.chunk(made_in_s=now - began, frames=count, late=late, now_s=now)
            speed = seconds(count, delivery.fps) / (now - began)

            held.append(delivery.chunk_event(count, file, encoder.mime))
            delivery.made(count)
            if delivery.first_announced_s is None:
                if delivery.remaining and not may_start(len(held), speed):
                    continue
                delivery.first_announced_s = now
                engine.stats.first_chunk(now - utterance.received_s)
            while held:
                events.publish(held.pop(0))
        events.publish(delivery.complete_event())


@asynccontextmanager
async def _open_encoder(utterance: Utterance, engine: Engine) -> AsyncIterator[UtteranceEncoder]:
    manifest = utterance.avatar.manifest
    open_it = partial(
        UtteranceEncoder,
        width=manifest.width,
        height=manifest.height,
        fps=utterance.options.playback_fps,
        sound=utterance.sound,
        settings=engine.encoder,
    )
    encoder = await engine.workers.run(open_it, deadline_s=time.monotonic())
    try:
        yield encoder
    finally:
        encoder.close()


async def _make_chunk(
    utterance: Utterance, engine: Engine, encoder: UtteranceEncoder, delivery: Delivery, count: int
) -> bytes:
    """Render, compose and encode the next `count` frames, part by part."""
    first, last = delivery.frames, delivery.frames + count
    deadline_s = delivery.deadline_s(time.monotonic())
    for start in range(first, last, PART_FRAMES):
        frames = range(start, min(start + PART_FRAMES, last))
        await make_frames(utterance, engine, encoder, delivery, frames, deadline_s=deadline_s)
    return await engine.workers.run(encoder.cut, deadline_s=deadline_s)
