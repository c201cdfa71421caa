"""What is said in a session: utterances one after another, interruptions, and what viewers hear.

Turns are spoken in the order of their admission. Each is a task that waits for its place; who is
stopped gives way at once, while what was begun for it ends in the background.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from .avatar import Avatar
from .captions import Cue
from .delivery import PLAYER_DELAY_S, Delivery
from .engine import Engine, Utterance
from .errors import (
    MuseTalkStreamError,
    QueueFull,
    ServerRestarted,
    ShuttingDown,
    StorageFull,
    StreamActive,
    UploadAborted,
)
from .events import EventLog
from .options import OnBusy, SessionOptions, SpeechOptions
from .player_reports import PlayerReports
from .request_context import about_session, about_utterance
from .session_state import State, Trigger, TurnState
from .speech import Speech
from .sse import Event
from .store import Found
from .timeline import CyclePhase
from .turn import Turn, mint_id
from .turns import Turns
from .utterance import LOOK_AGAIN_S, may_begin, perform
from .utterance_note import begun, ended, restored
from .viewing import Viewing, got_chunk, line_up

log = logging.getLogger(__name__)

_ENDING = "the server is about to end: send the sound again in a moment"
_NO_MORE = "the server is about to end, and takes no more of the sound"
_NEXT_SERVER_S = 5  # what whoever hears that is told to wait
_LOST = "the server was started again while this was said: send the sound anew"
_TRY_AGAIN_S = 1  # what whoever finds the queue full is told to wait
# How long a first chunk takes where none has been measured yet.
_FIRST_CHUNK_GUESS_S = 0.1

Keep = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Interruption:
    """epoch: which ended, if anything did; request_ids: what was said in it and not yet seen;
    heard: the one of them that viewers were hearing."""

    epoch: int
    request_ids: tuple[str, ...] = ()
    heard: str | None = None


class Conversation:
    """The turns of one session. `epoch` grows by one with every interruption.

    subscribers  who read events now; players do
    reports      what those say of it
    keep_it      records what has been spoken; None without consent
    """

    def __init__(
        self,
        session_id: str,
        avatar: Avatar,
        options: SessionOptions,
        engine: Engine,
        events: EventLog,
        *,
        max_queue: int,
        epoch: int = 0,
    ) -> None:
        self.epoch = epoch
        self.subscribers = 0
        self.turns = Turns()
        self.reports = PlayerReports(self.turns, engine.stats, events)
        self.num_spoken = 0
        self.keep_it: Keep | None = None
        self.last_spoken_s = time.monotonic()
        self._session_id = session_id
        self._avatar = avatar
        self._options = options
        self._engine = engine
        self._events = events
        self._max_queue = max_queue
        manifest = avatar.manifest
        self._viewing = Viewing(
            CyclePhase(0, time.monotonic(), manifest.fps, manifest.cycle_length)
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended_s: dict[str, float] = {}  # of those whose chunks are kept
        self._moved = asyncio.Event()
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Conversation {self.state.name} epoch {self.epoch}>"

    @property
    def state(self) -> State:
        return self.turns.state

    # --- being admitted

    @contextmanager
    def admit(self, options: SpeechOptions, *, key: str | None = None) -> Iterator[Turn]:
        """A place for speech that arrives inside the block. An error that leaves it ends the speech
        early; if nothing of it can be spoken, it has never been.

        Raises StreamActive, QueueFull, RendererLost, ShuttingDown; and UtteranceEnded,
        DamagedAudio, EmptyAudio where the end of the speech, which is the block's unless it was
        said before, shows that.
        Speech that gets QueueFull while it waits has never been, either.
        """
        self._engine.batcher.raise_if_lost()
        if self._is_draining:
            raise ShuttingDown(_ENDING, retry_after_s=_NEXT_SERVER_S)
        self._make_way(options.on_busy)
        turn = self._enqueue(options, key)
        try:
            yield turn
            if turn.is_arriving:
                turn.speech.end()
        except BaseException as exc:
            if turn.is_arriving:
                turn.speech.end(_as_error(exc))
            if isinstance(exc, QueueFull) and turn.status is TurnState.QUEUED:
                self._drop(turn)
            raise
        finally:
            if turn.status is TurnState.QUEUED and not turn.has_sound:
                self._drop(turn)

    def _make_way(self, on_busy: OnBusy) -> None:
        active = self.turns.active
        if on_busy is OnBusy.REPLACE:
            self.interrupt()
        elif on_busy is OnBusy.QUEUE and len(active) > self._max_queue:
            raise QueueFull(
                f"{self._max_queue} utterances of this session wait already: wait for one of them "
                "to be spoken, or interrupt",
                retry_after_s=_TRY_AGAIN_S,
            )
        elif on_busy is OnBusy.REJECT and active:
            if active[-1].is_arriving:
                raise StreamActive(
                    "another upload to this session is still arriving: "
                    "ask for on_busy=queue or on_busy=replace, or wait"
                )
            raise StreamActive(
                "this session is still speaking: wait for its complete event, "
                "or ask for on_busy=queue or on_busy=replace"
            )

    def _enqueue(self, options: SpeechOptions, key: str | None) -> Turn:
        speech = Speech(options, self._engine.limits, self._engine.decoders)
        delivery = Delivery(mint_id(), self.epoch, self._options.playback_fps, self._viewing.phase)
        turn = Turn(speech, delivery, options, key)
        speech.room_s = partial(self._room_s, turn)
        self.turns.add(turn, time.monotonic())
        name = f"utterance-{turn.request_id[:8]}"
        turn.task = asyncio.create_task(self._take_turn(turn), name=name)
        self._tasks.add(turn.task)
        turn.task.add_done_callback(partial(self._let_go, turn))
        self._notify()
        return turn

    def _room_s(self, turn: Turn) -> float:
        """Seconds of sound that one that waits may still take in; the first of them all has a limit
        of its own."""
        if turn in self.turns.active[:1]:
            return math.inf
        return self._engine.limits.max_audio_s - self.turns.waiting_s()

    def _drop(self, turn: Turn) -> None:
        if turn.delivery.first_event_id is not None:
            self._publish(turn, turn.delivery.cancelled_event())
        self._stop(turn, Trigger.DROP)
        self.turns.forget(turn.request_id)

    def _let_go(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """A task's CancelledError refers to frames that refer to the sound: a cycle of up to
        hundreds of megabytes that would wait for the garbage collector."""
        turn.task = None
        self._tasks.discard(task)

    # --- one turn after another

    async def _take_turn(self, turn: Turn) -> None:
        about_session(self._session_id)
        about_utterance(turn.request_id)
        try:
            await self._note_begun(turn)
            await self._await_turn(turn)
            if turn.has_sound:
                await self._speak(turn, turn.speech)
        finally:
            if turn.begun_s is None:
                await self._engine.store.delete(turn.request_id)

    async def _note_begun(self, turn: Turn) -> None:
        """While its sound is being decoded: if the server is killed, the next one knows of it."""
        try:
            await self._engine.store.begin(turn.request_id, begun(self._session_id, turn))
        except (StorageFull, OSError) as exc:  # its first chunk says so, if that is so still
            log.warning("utterance %s won't outlive this server: %s", turn.request_id[:8], exc)

    async def _await_turn(self, turn: Turn) -> None:
        """Until it may speak, or is about to be dropped."""
        speech = turn.speech
        while not turn.has_sound:
            if speech.has_ended:
                return  # it is about to be dropped
            await speech.more(LOOK_AGAIN_S)
        queued = turn.delivery.queued_event(turn.position)
        turn.delivery.first_event_id = self._publish(turn, queued)
        queued_s = time.monotonic()
        if turn.cues:
            self._tell_captions(turn)
        while self.turns.active[0] is not turn:
            await self._moved.wait()
        self._engine.stats.queue_wait.observe(time.monotonic() - queued_s)
        await asyncio.sleep(self._too_early_s(turn))
        while not may_begin(speech, self._options):
            await speech.more(LOOK_AGAIN_S)

    def _too_early_s(self, turn: Turn) -> float:
        """Seconds until an utterance may begin. The first chunk of one that follows is made at
        once; but a thousand short ones must not be made hours before they are seen."""
        before = self.turns.before(turn)
        if before is None:
            return 0.0
        left_s = (before.delivery.runs_dry_s or 0.0) - time.monotonic()
        return max(0.0, left_s - 2 * self._engine.max_lead_s)

    async def _speak(self, turn: Turn, speech: Speech) -> None:
        keep_it = self.keep_it  # consent that is given later is not for this one
        turn.advance(Trigger.SPEAK)
        turn.begun_s = time.monotonic()
        self.num_spoken += 1
        delivery = turn.delivery
        self._begin(turn, speech)
        utterance = Utterance(
            turn.request_id,
            turn.epoch,
            self._session_id,
            self._avatar,
            speech,
            self._options,
            turn.begun_s,
        )
        self._notify()
        try:
            publish, seal = partial(self._publish, turn), partial(self._note_ended, turn)
            spoken = await perform(utterance, self._engine, publish, delivery, seal)
            turn.advance(Trigger.FINISH if spoken else Trigger.FAIL)
            self._viewing.ended(delivery)
        finally:
            delivery.has_ended = True
            self._ended_s[turn.request_id] = self.last_spoken_s = time.monotonic()
            self._notify()
            if turn.status is not TurnState.COMPLETE:
                await self._note_ended(turn, turn.status)
        if spoken and keep_it is not None and keep_it is self.keep_it:
            await keep_it(delivery)

    async def _note_ended(self, turn: Turn, status: TurnState = TurnState.COMPLETE) -> None:
        """Before anybody is told that it is complete: it is, whatever becomes of the server."""
        note = ended(self._session_id, turn, status)
        await self._engine.store.finish(turn.request_id, note)

    def _begin(self, turn: Turn, speech: Speech) -> None:
        """Decide on which cycle frame speech begins: the one that will be on the screen then."""
        assert speech.sound is not None
        now_s, delivery = time.monotonic(), turn.delivery
        visible_at_s = now_s + PLAYER_DELAY_S
        visible_at_s += self._engine.stats.typical_first_chunk_s(_FIRST_CHUNK_GUESS_S)
        delivery.is_live = speech.sound.is_live
        if not speech.has_ended:
            delivery.prebuffer_s = turn.options.prebuffer_s
        before = self.turns.before(turn)
        if before and before.status is TurnState.COMPLETE and _is_seen_at(before, visible_at_s):
            delivery.start_after(before.delivery)
        else:
            self._viewing.begin(delivery, visible_at_s)

    def _publish(self, turn: Turn, event: Event) -> int | None:
        """Say what goes on with a turn, unless it has been stopped."""
        if turn.status.is_stopped:
            return None
        event_id = self._events.publish(event)
        self._notify()
        return event_id

    def _notify(self) -> None:
        """Something has moved: wake everyone who waits for a place, or for a chunk."""
        self.turns.place()
        self._moved.set()
        self._moved = asyncio.Event()

    async def moves(self, timeout_s: float) -> None:
        """Returns when something has happened to a turn, or after that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()

    def caption(self, request_id: str, cues: tuple[Cue, ...]) -> None:
        """What is said in an utterance, in place of what was given before. Raises
        UtteranceNotFound."""
        turn = self.turns.get(request_id)
        turn.cues = cues
        if turn.delivery.first_event_id is not None:  # else they follow the first word of it
            self._tell_captions(turn)

    def _tell_captions(self, turn: Turn) -> None:
        """Only the latest are kept to be told: who gives them often must not fill the log."""
        if turn.cues_id is not None:
            self._events.withdraw(turn.cues_id)
        turn.cues_id = self._publish(turn, turn.delivery.captions_event(turn.cues))

    def is_dead(self, event: Event) -> bool:
        """Whether an event of the log is about speech that has been stopped since."""
        return self.turns.is_dead(event, self.epoch)

    # --- stopping

    def interrupt(self) -> Interruption:
        """End the epoch: nothing of what is arriving, queued, generated or not yet seen will be
        seen or heard after this. What was begun ends in the background."""
        now_s = time.monotonic()
        turns = self._stoppable(now_s)
        if not turns:
            return Interruption(self.epoch)
        request_ids = tuple(turn.request_id for turn in turns)
        heard = next((turn for turn in turns if turn.is_heard_at(now_s)), None)
        ended = Interruption(self.epoch, request_ids, heard.request_id if heard else None)
        self._events.publish(
            {"event": "interrupted", "epoch": self.epoch, "request_ids": list(request_ids)}
        )
        self.epoch += 1
        self._viewing.stopped([turn.delivery for turn in turns], now_s)
        for turn in turns:
            self._stop(turn, Trigger.INTERRUPT)
            self.reports.expect(turn, is_heard=turn is heard)
        log.info("session %s: interrupted epoch %d", self._session_id[:8], ended.epoch)
        return ended

    def cancel(self, request_id: str) -> None:
        """Stop one; others go on. No change if it is over. Raises UtteranceNotFound."""
        turn, now_s = self.turns.get(request_id), time.monotonic()
        if turn not in self._stoppable(now_s):
            return
        self._publish(turn, turn.delivery.cancelled_event())
        self.reports.expect(turn, is_heard=turn.is_heard_at(now_s))
        self._stop(turn, Trigger.CANCEL)
        others = self.turns.deliveries
        line_up(others, now_s)
        self._viewing.stopped([turn.delivery], now_s, others)

    def _stoppable(self, now_s: float) -> list[Turn]:
        """A player that has not said that an utterance is over may be behind what is likely."""
        return self.turns.stoppable(
            now_s, late_s=self._engine.max_lead_s if self.subscribers else 0.0
        )

    def _stop(self, turn: Turn, trigger: Trigger) -> None:
        was_speaking = turn.status is TurnState.SPEAKING
        self._engine.stats.cancelled += was_speaking
        turn.advance(trigger)
        if trigger is not Trigger.INTERRUPT:
            log_ids = {"first_id": self._events.first_id, "last_id": self._events.last_id}
            self.turns.cancelled(turn, **log_ids)
        if turn.task is not None:
            turn.task.cancel()
        self._notify()

    def resume(self, found: Sequence[Found]) -> None:
        """Go on with what the last server noted of it, oldest first: what it came to the end of can
        be fetched, and of what it did not viewers are told that it is lost."""
        now_s = time.monotonic()
        for each in found:
            try:
                turn = restored(
                    each, self._viewing.phase, fps=self._options.playback_fps, epoch=self.epoch
                )
            except (ValueError, KeyError, TypeError) as exc:
                log.error("utterance %s is lost, as its note is damaged: %r", each.request_id, exc)
                self._ended_s[each.request_id] = -math.inf  # it goes with the next tidying
                continue
            self.turns.add(turn, now_s)
            self._ended_s[turn.request_id] = turn.delivery.watched_until_s or now_s
            if not each.ended:
                self._engine.stats.fail(ServerRestarted.code)
                self._events.publish(turn.delivery.error_event(ServerRestarted(_LOST)))

    def knows(self, request_id: str) -> bool:
        """Whether an utterance is, or was, of this conversation, and its chunks may be there."""
        return request_id in self.turns or request_id in self._ended_s

    def drain(self) -> None:
        """Begin nothing more. What waits ends; what is being spoken goes on as fast as can be."""
        self._is_draining = True
        for turn in self.turns.active:
            if turn.status is TurnState.SPEAKING:
                turn.delivery.hurries = True
            else:
                self._give_up(turn)
        self._notify()

    def end_sound(self) -> None:
        """Of sound that nobody ends, what came is spoken."""
        for turn in self.turns.active:
            if turn.is_arriving:
                turn.speech.end(ShuttingDown(_NO_MORE, retry_after_s=_NEXT_SERVER_S))

    def give_up(self) -> None:
        """End what is still being spoken while it drains."""
        for turn in self.turns.active:
            self._give_up(turn)

    def _give_up(self, turn: Turn) -> None:
        """End one before its end, and say why, to those who watch and to who still sends."""
        error = ShuttingDown(_ENDING, retry_after_s=_NEXT_SERVER_S)
        if turn.is_arriving:
            turn.speech.end(error)
        if not turn.has_sound:
            self._drop(turn)
            return
        self._engine.stats.fail(error.code)
        self._publish(turn, turn.delivery.error_event(error))
        turn.advance(Trigger.FAIL)
        if turn.task is not None:
            turn.task.cancel()
        self._notify()

    async def close(self) -> None:
        """Stop everything, and wait for the end of what was begun."""
        for turn in self.turns.active:
            if turn.has_sound:
                self._publish(turn, turn.delivery.cancelled_event())
            self._stop(turn, Trigger.CANCEL)
        for turn in self.turns:
            turn.was_finished.set()
        self._notify()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    # --- what viewers see and hear

    def placeholder_at(self, avatar_frame: int) -> None:
        """The player says which cycle frame its placeholder shows now."""
        self._viewing.placeholder_at(avatar_frame, time.monotonic())

    def fetched(self, request_id: str, file: str | None = None) -> None:
        """Somebody fetches a chunk of an utterance (None: its recording)."""
        if request_id in self.turns:
            got_chunk(self.turns.deliveries, request_id, time.monotonic())
            self.looked_at(request_id, file)

    def looked_at(self, request_id: str, file: str | None = None) -> None:
        """Somebody is there who fetches it, or a list of what there is."""
        if request_id in self.turns:
            self.turns.get(request_id).delivery.fetched(file)
            if self._is_draining:
                self._notify()

    @property
    def has_unfetched(self) -> bool:
        """Whether somebody who fetches chunk by chunk has not come to the end of something."""
        return any(delivery.has_unfetched for delivery in self.turns.deliveries)

    async def played_ms(self, interruption: Interruption, timeout_s: float) -> int | None:
        """What viewers heard of what was interrupted; None if no player says so in time.
        None at once if nobody is there to say it."""
        if interruption.heard is None or not self.subscribers:
            return None
        return await self.reports.played_ms(interruption.heard, timeout_s)

    # --- what is remembered

    async def forget_chunks_before(self, instant_s: float) -> None:
        """Delete the chunks of utterances that ended before an instant."""
        for request_id in [r for r, ended_s in self._ended_s.items() if ended_s < instant_s]:
            self.turns.forget(request_id)  # first: what is told of one is there
            await self._engine.store.delete(request_id)
            self._ended_s.pop(request_id, None)

    async def forget_all_chunks(self) -> None:
        for request_id in list(self._ended_s):  # housekeeping may be at it, too
            await self._engine.store.delete(request_id)


def _as_error(exc: BaseException) -> MuseTalkStreamError:
    if isinstance(exc, MuseTalkStreamError):
        return exc
    return UploadAborted("the connection broke off before the end of the sound")


def _is_seen_at(turn: Turn, instant_s: float) -> bool:
    """Whether viewers, if there are any, still see a turn then."""
    until_s = turn.delivery.watched_until_s
    return not turn.was_heard_out and (until_s is None or until_s >= instant_s)
