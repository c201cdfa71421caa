"""From speech to announced chunks: the pipeline of one utterance, top to bottom."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from .delivery import Delivery
from .encode import UtteranceEncoder
from .engine import Engine, Utterance
from .errors import MuseTalkStreamError, NotWatched, RenderFailed
from .frames import make_frames
from .hls import Segment
from .laps import Laps
from .levels import levels
from .options import SessionOptions
from .schedule import live_part_frames, may_start, next_chunk_frames, patience_s
from .speech import Speech
from .sse import Event
from .stats import EngineStats
from .timeline import (
    PART_FRAMES,
    chunk_frames,
    ear_samples_needed,
    output_frames_ready,
    seconds,
)
from .tracing import Trace

log = logging.getLogger(__name__)

Publish = Callable[[Event], object]
Seal = Callable[[], Awaitable[None]]

# Whoever waits for sound looks again after this long, though nothing has told it to.
LOOK_AGAIN_S = 10.0
# Likewise whoever is far enough ahead: what was before may be cancelled.
_LEAD_MAY_CHANGE_S = 0.25


async def perform(
    utterance: Utterance, engine: Engine, publish: Publish, delivery: Delivery, seal: Seal
) -> bool:
    """Run an utterance to its end and say how it ended; whether all of it was spoken."""
    engine.stats.utterances += 1
    try:
        spans = engine.tracing.utterance(
            utterance.request_id,
            received_s=utterance.speech.received_s,
            heard_s=utterance.speech.decoded_s or utterance.begun_s,
            begun_s=utterance.begun_s,
        )
        with spans as trace:
            await run_utterance(utterance, engine, publish, delivery, seal, trace)
    except Exception as exc:
        _tell_why(_failure(utterance, exc), utterance.speech, engine.stats, publish, delivery)
        return False
    engine.stats.completed += 1
    log.info("%r: %.2f s spoken", utterance, delivery.seconds)
    return True


def _tell_why(
    error: MuseTalkStreamError,
    speech: Speech,
    stats: EngineStats,
    publish: Publish,
    delivery: Delivery,
) -> None:
    """Those who watch, and who still sends. Not where the error was caught: a frame that it went
    through must not keep it."""
    stats.fail(error.code)
    speech.end(error)
    publish(delivery.error_event(error))


def _failure(utterance: Utterance, exc: Exception) -> MuseTalkStreamError:
    """Log why an utterance failed, and say it. Records get texts only: what keeps records (an error
    tracker) must not keep the utterance's sound."""
    if isinstance(exc, MuseTalkStreamError):
        log.error("%s failed: %s", repr(utterance), exc.detail)
        return exc
    log.error("%s failed", repr(utterance), exc_info=exc)
    return RenderFailed("the server failed to make this video; its log says why")


async def run_utterance(
    utterance: Utterance,
    engine: Engine,
    publish: Publish,
    delivery: Delivery,
    seal: Seal,
    trace: Trace,
) -> None:
    """Speak what there is, and what comes, until its end. `seal` is awaited when all of it is there
    and before that is told."""
    speech = utterance.speech
    async with _open_encoder(utterance, engine) as encoder:
        delivery.num_frames = speech.total_frames(delivery.fps)
        delivery.mime = encoder.mime
        publish(delivery.started_event())

        speed, held = 0.0, list[tuple[Event, Segment]]()
        while not _is_whole(utterance, delivery):
            began = time.monotonic()
            if _is_unwatched(delivery, engine, began):
                await asyncio.sleep(_LEAD_MAY_CHANGE_S)
                continue
            lead_s = (delivery.runs_dry_s or began) - began
            if lead_s > engine.max_lead_s and not delivery.hurries:
                await asyncio.sleep(min(lead_s - engine.max_lead_s, _LEAD_MAY_CHANGE_S))
                continue
            wait_s = _patience_s(delivery, speed)
            count = next_chunk_frames(
                fps=delivery.fps,
                remaining=frames_ready(speech, utterance.options) - delivery.frames,
                limit=chunk_frames(utterance.options.chunk_duration_s, delivery.fps),
                lead_s=lead_s,
                speed=speed,
                goes_on=not speech.has_ended,
                may_wait=wait_s > 0,
            )
            if not count:
                if wait_s > 0:
                    await speech.more(min(wait_s, LOOK_AGAIN_S))
                else:
                    speech.fill(_silence_for_a_part(utterance, delivery))
                continue
            laps, index = Laps(), delivery.chunks
            body = await _make_chunk(utterance, engine, encoder, delivery, count, publish, laps)
            with laps.timed("store"):
                file = await engine.store.put(utterance.request_id, index, body, encoder.mime)
            now, needed_s = time.monotonic(), _needed_s(utterance, delivery)
            late_s = None if needed_s is None else now - needed_s
            engine.stats.chunk(
                made_in_s=now - began, laps=laps, frames=count, late_s=late_s, now_s=now
            )
            trace.chunk(index, laps)
            speed = seconds(count, delivery.fps) / (now - began)

            loudness = levels(
                utterance.sound, range(delivery.frames, delivery.frames + count), delivery.fps
            )
            segment = Segment(file, len(body), encoder.init_size, count / delivery.fps)
            held.append((delivery.chunk_event(count, file, loudness), segment))
            delivery.made(count)
            speech.spoken(delivery.seconds)
            if delivery.first_announced_s is None:
                if _has_more(utterance, delivery) and not may_start(len(held), speed):
                    continue
                delivery.first_announced_s = now
                engine.stats.first_chunk(now - utterance.begun_s)
                trace.first_chunk(utterance.begun_s, now)
            while held:
                event, segment = held.pop(0)
                delivery.announced(segment, now)
                publish(event)
        await seal()
        early = speech.ended_early.code if speech.ended_early else None
        publish(
            delivery.complete_event(
                sound_s=utterance.sound.duration_s, ended_early=early, waited_s=speech.waited_s
            )
        )


def _is_unwatched(delivery: Delivery, engine: Engine, now_s: float) -> bool:
    """Whether no more is to be made until somebody comes for what there is. Raises NotWatched when
    nobody did for too long."""
    limit_s, unwatched_s = engine.unwatched_s, delivery.unwatched_s(now_s)
    if not limit_s or delivery.hurries or unwatched_s < limit_s:
        return False
    if unwatched_s >= 2 * limit_s:
        raise NotWatched(
            f"nobody fetched any of its chunks for {unwatched_s:.0f} s, and there was more to make"
        )
    return True


def _is_whole(utterance: Utterance, delivery: Delivery) -> bool:
    """Whether all of it is made; how much that is, one may learn on the way."""
    delivery.num_frames = utterance.speech.total_frames(delivery.fps)
    return delivery.frames == delivery.num_frames


def _has_more(utterance: Utterance, delivery: Delivery) -> bool:
    """Whether another chunk can be made at once."""
    speech = utterance.speech
    ready = frames_ready(speech, utterance.options) - delivery.frames
    return ready >= (1 if speech.has_ended else live_part_frames(delivery.fps))


def frames_ready(speech: Speech, options: SessionOptions) -> int:
    """Output frames that can be made of what has come, from the beginning."""
    if (total := speech.total_frames(options.playback_fps)) is not None:
        return total
    num_known = speech.sound.num_known if speech.sound else 0
    return output_frames_ready(num_known, options.fps, options.playback_fps)


def may_begin(speech: Speech, options: SessionOptions) -> bool:
    """Whether there is enough to make a first chunk of."""
    least = live_part_frames(options.playback_fps)
    return speech.has_ended or frames_ready(speech, options) >= least


def _needed_s(utterance: Utterance, delivery: Delivery) -> float | None:
    """The instant by which the next chunk should have been there. Where sound comes no faster than
    it is spoken, there is no more time than viewers really have."""
    is_live = utterance.sound.is_live
    return delivery.viewers_run_dry_s if is_live else delivery.runs_dry_s


def _patience_s(delivery: Delivery, speed: float) -> float:
    """How long one may wait for more sound; for ever, while there is nothing to be seen."""
    if delivery.first_announced_s is None or delivery.viewers_run_dry_s is None:
        return math.inf
    left_s = delivery.viewers_run_dry_s - time.monotonic()
    return patience_s(fps=delivery.fps, left_s=left_s, speed=speed)


def _silence_for_a_part(utterance: Utterance, delivery: Delivery) -> int:
    """Audio samples that are missing for the next PART_FRAMES frames."""
    options = utterance.options
    last = delivery.frames + PART_FRAMES - 1
    lips = math.ceil(last * options.fps / options.playback_fps) + 1
    return max(1, ear_samples_needed(lips, options.fps) - utterance.sound.num_known)


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
    utterance: Utterance,
    engine: Engine,
    encoder: UtteranceEncoder,
    delivery: Delivery,
    count: int,
    publish: Publish,
    laps: Laps,
) -> bytes:
    """Render, compose and encode the next `count` frames, part by part."""
    first, last = delivery.frames, delivery.frames + count
    deadline_s = delivery.deadline_s(time.monotonic())
    for start in range(first, last, PART_FRAMES):
        frames = range(start, min(start + PART_FRAMES, last))
        await make_frames(
            utterance, engine, encoder, delivery, frames, deadline_s=deadline_s, laps=laps
        )
        if delivery.first_batch_s is None:
            delivery.first_batch_s = time.monotonic()
            publish(delivery.first_frame_event())
    with laps.timed("mux"):
        return await engine.workers.run(encoder.cut, deadline_s=deadline_s)
