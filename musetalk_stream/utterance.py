"""From decoded speech to announced chunks: the pipeline of one utterance, top to bottom."""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .audio import Pcm
from .avatar import Avatar
from .batcher import Batcher
from .blend import MouthRegion, i420_planes
from .config import EncoderConfig
from .encode import UtteranceEncoder
from .errors import MuseTalkStreamError, RenderFailed
from .events import EventLog
from .options import SessionOptions, number
from .renderers import FrameRequest
from .schedule import next_chunk_frames
from .stats import EngineStats
from .store import ChunkStore
from .timeline import (
    PART_FRAMES,
    CyclePhase,
    chunk_frames,
    cycle_frame,
    frames_covering,
    seconds,
)
from .workers import Workers

log = logging.getLogger(__name__)

# From an announced first chunk to its first frame on the screen: a request, an append, a paint.
PLAYER_DELAY_S = 0.12
# A first chunk gives way to those of others that are due within this time.
_FIRST_CHUNK_PATIENCE_S = 0.2
# How long a first chunk takes where none has been measured yet.
_FIRST_CHUNK_GUESS_S = 0.1


@dataclass(frozen=True, slots=True)
class Engine:
    """What all utterances of a server share."""

    batcher: Batcher
    store: ChunkStore
    stats: EngineStats
    workers: Workers
    encoder: EncoderConfig
    max_lead_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One piece of speech to be spoken by one avatar."""

    request_id: str
    avatar: Avatar
    pcm: Pcm
    options: SessionOptions
    received_s: float  # monotonic clock, when its upload was complete

    @property
    def num_frames(self) -> int:
        return frames_covering(len(self.pcm.ear), self.options.playback_fps)

    @property
    def duration_s(self) -> float:
        return seconds(self.num_frames, self.options.playback_fps)


@dataclass(slots=True)
class Delivery:
    """How far an utterance has got. Instants are of the monotonic clock."""

    start_cycle_frame: int = 0
    frames: int = 0
    chunks: int = 0
    seconds: float = 0.0
    first_announced_s: float | None = None
    first_event_id: int | None = None

    def runs_dry_s(self) -> float | None:
        """The instant at which a viewer who started at once has seen all there is."""
        return self.first_announced_s and self.first_announced_s + self.seconds

    def deadline_s(self, now_s: float) -> float:
        """The instant by which the next chunk should be there. Nobody sees a first chunk that
        comes a little later, but everybody sees a face that freezes."""
        return self.runs_dry_s() or now_s + _FIRST_CHUNK_PATIENCE_S


async def perform(
    utterance: Utterance, engine: Engine, events: EventLog, phase: CyclePhase, delivery: Delivery
) -> None:
    """Run an utterance to its end and say how it ended, whatever happens.

    phase  where the placeholder is now, so that speech starts on the frame that it shows
    """
    engine.stats.utterances += 1
    name = utterance.request_id[:8]
    try:
        await run_utterance(utterance, engine, events, phase, delivery)
        log.info("utterance %s: %.2f s spoken", name, utterance.duration_s)
    except asyncio.CancelledError:
        engine.stats.cancelled += 1
        events.publish({"event": "cancelled", "request_id": utterance.request_id})
        raise
    except Exception as exc:
        engine.stats.failed += 1
        error = (
            exc
            if isinstance(exc, MuseTalkStreamError)
            else RenderFailed("the server failed to make this video; its log says why")
        )
        log.error("utterance %s failed: %s", name, exc, exc_info=error is not exc)
        events.publish(
            {
                "event": "error",
                "message": error.detail,
                "code": error.code,
                "request_id": utterance.request_id,
            }
        )


async def run_utterance(
    utterance: Utterance, engine: Engine, events: EventLog, phase: CyclePhase, delivery: Delivery
) -> None:
    fps, total = utterance.options.playback_fps, utterance.num_frames
    full_chunk = chunk_frames(utterance.options.chunk_duration_s, fps)
    encoder = await engine.workers.run(
        lambda: _open_encoder(utterance, engine.encoder), deadline_s=time.monotonic()
    )
    visible_in_s = engine.stats.typical_first_chunk_s(_FIRST_CHUNK_GUESS_S) + PLAYER_DELAY_S
    delivery.start_cycle_frame = phase.frame_at(time.monotonic() + visible_in_s)

    delivery.first_event_id = events.publish(_started(utterance, delivery, encoder.mime))
    speed = 0.0
    while delivery.frames < total:
        began = time.monotonic()
        lead_s = (delivery.runs_dry_s() or began) - began
        if lead_s > engine.max_lead_s:
            await asyncio.sleep(lead_s - engine.max_lead_s)
            continue
        count = next_chunk_frames(
            fps=fps,
            remaining=total - delivery.frames,
            limit=full_chunk,
            lead_s=lead_s,
            speed=speed,
        )
        body = await _make_chunk(utterance, engine, encoder, delivery, count)
        file = await engine.store.put(utterance.request_id, delivery.chunks, body, encoder.mime)
        now = time.monotonic()
        if delivery.first_announced_s is None:
            engine.stats.first_chunk(now - utterance.received_s)
        late = now > (delivery.runs_dry_s() or now)
        engine.stats.chunk(made_in_s=now - began, frames=count, late=late, now_s=now)
        events.publish(_chunk(utterance, delivery, count, file, encoder.mime))
        if delivery.first_announced_s is None:
            delivery.first_announced_s = now
        delivery.frames += count
        delivery.chunks += 1
        delivery.seconds = seconds(delivery.frames, fps)
        speed = seconds(count, fps) / (now - began)
    events.publish(_complete(utterance, delivery))


def _open_encoder(utterance: Utterance, settings: EncoderConfig) -> UtteranceEncoder:
    manifest = utterance.avatar.manifest
    return UtteranceEncoder(
        width=manifest.width,
        height=manifest.height,
        fps=utterance.options.playback_fps,
        ear=utterance.pcm.ear,
        settings=settings,
    )


async def _make_chunk(
    utterance: Utterance, engine: Engine, encoder: UtteranceEncoder, delivery: Delivery, count: int
) -> bytes:
    """Render, compose and encode the next `count` frames, part by part."""
    first, last = delivery.frames, delivery.frames + count
    deadline_s = delivery.deadline_s(time.monotonic())
    for start in range(first, last, PART_FRAMES):
        frames = range(start, min(start + PART_FRAMES, last))
        requests = await _frame_requests(utterance, engine.batcher, delivery, frames)
        regions = await engine.batcher.render(
            requests, deadline_s=deadline_s, per_turn=utterance.options.batch_size
        )
        await engine.workers.run(
            partial(_encode, encoder, requests, regions), deadline_s=deadline_s
        )
    return await engine.workers.run(encoder.cut, deadline_s=deadline_s)


async def _frame_requests(
    utterance: Utterance, batcher: Batcher, delivery: Delivery, frames: range
) -> list[FrameRequest]:
    """Which picture each frame shows and the audio that moves its lips.

    Lips are rendered at `fps` and shown at `playback_fps`: each mouth is held until the next.
    """
    options, avatar = utterance.options, utterance.avatar
    lips = [math.floor(k * options.fps / options.playback_fps) for k in frames]
    first, count = lips[0], lips[-1] - lips[0] + 1
    windows = await batcher.call(
        lambda renderer: renderer.audio_windows(utterance.pcm, options.fps, first, count)
    )
    start, fps = delivery.start_cycle_frame, options.playback_fps
    return [
        FrameRequest(
            avatar=avatar,
            picture=avatar.picture(cycle_frame(start, k, fps, avatar.manifest.fps)),
            audio_window=windows[lip - first],
        )
        for k, lip in zip(frames, lips, strict=True)
    ]


def _encode(
    encoder: UtteranceEncoder,
    requests: Sequence[FrameRequest],
    regions: Sequence[MouthRegion | None],
) -> None:
    for request, region in zip(requests, regions, strict=True):
        encoder.add(i420_planes(request.avatar.frames[request.picture]), region)


def _cycle_frame(utterance: Utterance, delivery: Delivery, frame: int) -> int:
    """The cycle frame under an output frame, as clients count: from 0 to cycle_length-1."""
    manifest = utterance.avatar.manifest
    rate = utterance.options.playback_fps
    exact = cycle_frame(delivery.start_cycle_frame, frame, rate, manifest.fps)
    return exact % manifest.cycle_length


def next_cycle_frame(utterance: Utterance, delivery: Delivery) -> int:
    """Where the placeholder goes on when everything delivered so far has been seen."""
    return _cycle_frame(utterance, delivery, delivery.frames)


def _started(utterance: Utterance, delivery: Delivery, mime: str) -> dict[str, object]:
    return {
        "event": "started",
        "request_id": utterance.request_id,
        "duration": utterance.duration_s,
        "fps": number(utterance.options.playback_fps),
        "mime": mime,
        "avatar_frame": delivery.start_cycle_frame,
    }


def _chunk(
    utterance: Utterance, delivery: Delivery, count: int, file: str, mime: str
) -> dict[str, object]:
    first, fps = delivery.frames, utterance.options.playback_fps
    return {
        "event": "chunk",
        "url": f"/chunks/{utterance.request_id}/{file}",
        "index": delivery.chunks,
        "request_id": utterance.request_id,
        "start": seconds(first, fps),
        "duration": seconds(count, fps),
        "mime": mime,
        "avatar_frames": [
            _cycle_frame(utterance, delivery, first),
            _cycle_frame(utterance, delivery, first + count - 1),
        ],
    }


def _complete(utterance: Utterance, delivery: Delivery) -> dict[str, object]:
    return {
        "event": "complete",
        "request_id": utterance.request_id,
        "total_chunks": delivery.chunks,
        "duration": utterance.duration_s,
        "avatar_frame": next_cycle_frame(utterance, delivery),
    }
