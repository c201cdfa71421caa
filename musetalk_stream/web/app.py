"""The application: what runs while it serves, in the order in which it starts."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path

from aiohttp import web

from ..avatar import Avatar, shipped_avatars
from ..batcher import Batcher
from ..config import Config
from ..decoding import DecodeProcesses, Decoders
from ..engine import Engine
from ..errors import AvatarNotFound, AvatarNotPrepared, MuseTalkStreamError, SetupError
from ..jobs import Jobs
from ..loop_watch import LoopWatch
from ..options import session_options
from ..prepare import prepare_store
from ..readying import Readying
from ..recordings import Recordings
from ..records import SessionRecords
from ..registry import SessionRegistry
from ..renderers import Renderer
from ..shelf import AvatarShelf
from ..sound import SoundRoom
from ..state_folder import held
from ..stats import EngineStats
from ..store import DiskChunkStore, shared
from ..supervisor import Supervisor
from ..tracing import open_tracing
from ..workers import Workers
from .access import Gate, guard
from .bodies import bodies
from .context import CONFIG, LOOP_WATCH, READINESS, Readiness, Services
from .cors import allow_origins
from .headers import protect
from .hosts import only_own_hosts
from .limits import limit
from .links import links
from .listen import count_connections
from .problems import problems, without_bad_bytes
from .routes import add_routes
from .sending import SENDING, Sending
from .telemetry import observe_requests

log = logging.getLogger(__name__)

# Uploads are decoded beside the encoding of running utterances, and not all at once.
_DECODE_THREADS = 2
_DECODE_NICE = 5
# For those who fetch to come to the last chunk, and for what is then still on its way.
_GRACE_S = 3.0
_LOG_PROGRESS_EVERY_S = 5.0  # of the same kind
# JSON bodies; uploads are bounded where they are read.
_MAX_BODY_BYTES = 64 << 10


def build_app(
    config: Config,
    renderer: Renderer,
    another: Callable[[], Renderer] | None = None,
    *,
    decoding: DecodeProcesses | None = None,
) -> web.Application:
    """The server for a configuration. It answers at once and is ready when `/readyz` says so.

    another   makes the renderer that takes the place of a lost one; None: that is loaded again
    decoding  processes that run already and outlive the server; None: it has its own
    """
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[CONFIG] = config
    app[READINESS] = Readiness()
    app[SENDING] = Sending()
    app[LOOP_WATCH] = LoopWatch()
    observe_requests(app)
    allow_origins(app, config.http.cors_origins)
    protect(app)
    app.middlewares.append(problems)
    count_connections(app)
    app.middlewares.extend([links, only_own_hosts])
    limit(app)
    guard(app, Gate(config), add_routes(app))
    app.middlewares.append(bodies)
    logging.getLogger("aiohttp.server").addFilter(without_bad_bytes)
    lifetime = _Lifetime(config, renderer, another or (lambda: renderer), decoding, app[READINESS])
    app.cleanup_ctx.append(_watch_loop)
    app.on_startup.append(lifetime.start)
    # On shutdown, not on cleanup: event streams must end before the server waits for handlers.
    app.on_shutdown.append(lifetime.stop)
    return app


async def _watch_loop(app: web.Application) -> AsyncIterator[None]:
    with app[LOOP_WATCH].running():
        yield


async def drain(app: web.Application, *, only_watched: bool = False) -> None:
    """Begin nothing more, and bring to its end what was begun, as far as `drain_s` and a few
    seconds for those who fetch allow. The server answers meanwhile.

    only_watched  what nobody watches ends at once
    """
    readiness, limit_s = app[READINESS], app[CONFIG].engine.drain_s
    readiness.is_draining = True
    if readiness.services is not None:
        registry = readiness.services.registry
        await registry.drain(limit_s, _GRACE_S, only_watched=only_watched)
        await app[SENDING].until_done(_GRACE_S)


class _Lifetime:
    """Owns the task in which everything that serves is started and stopped, in that order."""

    def __init__(
        self,
        config: Config,
        renderer: Renderer,
        another: Callable[[], Renderer],
        decoding: DecodeProcesses | None,
        readiness: Readiness,
    ) -> None:
        self._config = config
        self._renderer = renderer
        self._another = another
        self._decoding = decoding
        self._readiness = readiness
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: web.Application) -> None:
        self._task = asyncio.create_task(self._serve(), name="serving")
        self._task.add_done_callback(self._ended)

    async def stop(self, app: web.Application) -> None:
        self._stopping.set()
        if self._task:
            if self._readiness.services is None:
                self._readiness.end()
                self._task.cancel()  # it may be minutes from looking at `_stopping`
            await asyncio.wait([self._task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ends serving before it was asked to is told by `/readyz`."""
        exc = None if task.cancelled() else task.exception()
        if isinstance(exc, MuseTalkStreamError):
            self._readiness.fail(exc.detail)
        elif exc is not None:
            log.error("the server can't go on", exc_info=exc)
            self._readiness.fail(f"the server can't go on: {exc!r}; its log says more")

    async def _serve(self) -> None:
        storage = self._config.storage
        with held(storage.state_dir), _in_use(storage.chunks_dir) as is_alone:
            await self._serve_alone(is_alone)

    async def _serve_alone(self, is_alone_with_chunks: bool) -> None:
        readiness = self._readiness
        engine, decoding = self._engine()
        supervisor, decoders = engine.supervisor, engine.decoders
        readying = Readying(supervisor.batcher)
        async with _threads(
            decoding,
            decoders.workers.running(),
            engine.workers.running(),
            supervisor.running(),
            closing(engine.tracing),
        ):
            avatars = await asyncio.to_thread(self._prepare)
            avatar = avatars.get(self._config.session.avatar)
            await self._get_ready(supervisor.batcher, readying, avatar)
            await asyncio.to_thread(decoders.processes.wait_until_ready)
            await asyncio.to_thread(engine.recordings.load)
            its = self._services(engine, avatars, readying)
            again = partial(self._get_ready_again, readying, avatar)
            watching = supervisor.watching(again, readiness.give_up)
            async with readying.running(), its.registry.running(), its.jobs.running(), watching:
                await its.registry.resume(avatars, is_alone=is_alone_with_chunks)
                for session in its.registry.all():
                    with suppress(AvatarNotPrepared):  # asked for, it is being prepared
                        readying.require(session.avatar)
                readiness.succeed(its)
                await self._stopping.wait()
                readiness.end()

    def _engine(self) -> tuple[Engine, AbstractContextManager[object]]:
        """And the block in which its decode processes run. Nothing but tracing runs yet."""
        config = self._config
        storage, limits = config.storage, config.engine
        min_free_bytes = storage.min_free_mb * 10**6
        tracing = open_tracing(limits.otlp_endpoint)  # first, as it may not be installed
        processes, decoding = self._decode_processes()
        engine = Engine(
            supervisor=Supervisor(
                self._renderer,
                self._another,
                max_batch=limits.max_batch,
                capacity_fps=limits.capacity_fps,
                stall_s=limits.render_stall_s,
            ),
            store=DiskChunkStore(
                storage.chunks_dir,
                max_bytes=storage.chunk_store_mb * 10**6,
                min_free_bytes=min_free_bytes,
            ),
            stats=EngineStats(),
            workers=Workers(limits.encode_threads, "encoder"),
            decoders=Decoders(
                Workers(_DECODE_THREADS, "decoder", nice=_DECODE_NICE),
                processes,
                SoundRoom(config.upload.sound_memory_mb * 10**6),
            ),
            encoder=config.encoder,
            max_lead_s=limits.max_lead_s,
            limits=config.upload,
            tracing=tracing,
            recordings=Recordings(
                storage.recordings_dir,
                days=storage.recording_days,
                max_bytes=storage.recordings_mb * 10**6,
                min_free_bytes=min_free_bytes,
            ),
            unwatched_s=limits.unwatched_s,
        )
        return engine, decoding

    def _services(self, engine: Engine, avatars: AvatarShelf, readying: Readying) -> Services:
        config = self._config
        storage = config.storage
        registry = SessionRegistry(
            engine,
            config.session,
            SessionRecords(storage.state_dir, min_free_bytes=storage.min_free_mb * 10**6),
            chunk_retention_s=storage.chunk_retention_s,
            forget_on_stop=storage.forget_on_stop,
        )
        return Services(
            avatars=avatars,
            readying=readying,
            jobs=Jobs(config, avatars, readying),
            registry=registry,
            store=engine.store,
            supervisor=engine.supervisor,
            stats=engine.stats,
            decoders=engine.decoders,
            recordings=engine.recordings,
        )

    def _decode_processes(self) -> tuple[DecodeProcesses, AbstractContextManager[object]]:
        """And the block in which they run."""
        if self._decoding:
            return self._decoding, nullcontext()
        limits = self._config.upload
        own = DecodeProcesses(memory_mb=limits.decode_memory_mb, cpu_s=limits.decode_cpu_s)
        return own, own.running()

    async def _get_ready(self, batcher: Batcher, readying: Readying, avatar: Avatar) -> None:
        """Load the renderer, prepare the default avatar and, unless it is configured, find out how
        many frames per second can be made. Raises SetupError."""
        tell = _Progress(self._readiness).tell
        await batcher.load(tell)
        if not batcher.is_prepared(avatar):
            await readying.prepare(avatar, tell)
        if not self._config.engine.capacity_fps:
            threads = self._config.engine.encode_threads
            await batcher.measure(avatar, self._config.encoder, threads, tell)
        figures, fps = batcher.statistics(), float(session_options({}).playback_fps)
        log.info(
            "sessions may play %g frames per second together; batches of up to %d; "
            "measured by batch size: %s, and %g by the encoders",
            figures.capacity_fps,
            figures.max_batch,
            figures.frames_per_second_by_batch or "nothing",
            figures.encoder_frames_per_second,
        )
        if figures.capacity_fps < fps:
            log.warning(
                "this machine makes %g frames per second, and a session plays %g: one session is "
                "taken, and its playback will stall",
                figures.capacity_fps,
                fps,
            )

    async def _get_ready_again(self, readying: Readying, avatar: Avatar, batcher: Batcher) -> None:
        """Likewise, in place of a renderer that is lost; what was measured holds. Other avatars
        are prepared when they are asked for."""
        tell = _Progress(self._readiness).tell
        await batcher.load(tell)
        readying.renew(batcher)
        if not batcher.is_prepared(avatar):
            await readying.prepare(avatar, tell)

    def _prepare(self) -> AvatarShelf:
        """Blocking; raises SetupError."""
        config = self._config
        storage = config.storage
        aliases, default = config.session.aliases(), config.session.avatar
        default = aliases.get(default, default)
        shipped = shipped_avatars()
        prepare_store(storage.avatars_dir, shipped, config.encoder, needed=[default])
        avatars = AvatarShelf(
            storage.avatars_dir,
            aliases,
            cache_bytes=storage.avatar_cache_mb * 10**6,
            protected=frozenset({*shipped, default}),
        )
        try:
            avatars.get(config.session.avatar)
        except AvatarNotFound as exc:
            raise SetupError(f"{exc}; choose the default avatar by --avatar") from exc
        return avatars


@contextmanager
def _in_use(chunks_dir: Path) -> Iterator[bool]:
    """Whether no other server has its chunks there. Raises SetupError."""
    with ExitStack() as stack:
        try:
            is_alone = stack.enter_context(shared(chunks_dir))
        except OSError as exc:
            raise SetupError(
                f"chunks can't be kept in {chunks_dir}: {exc}; choose another place by --chunks-dir"
            ) from exc
        yield is_alone


@asynccontextmanager
async def _threads(*running: AbstractContextManager[object]) -> AsyncIterator[None]:
    """Threads that live inside this block. Their end is waited for beside the event loop, which
    goes on: a slow device may need long for what it has begun."""
    stack = ExitStack()
    try:
        for each in running:
            stack.enter_context(each)
        yield
    finally:
        await asyncio.to_thread(stack.close)


class _Progress:
    """Tells `/readyz` everything, and the log as much as a person wants to read."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._kind = ""
        self._logged_s = 0.0

    def tell(self, doing: str) -> None:
        self._readiness.tell(doing)
        kind, now_s = re.sub(r"[\d.]+.*", "", doing), time.monotonic()
        if kind != self._kind or now_s - self._logged_s >= _LOG_PROGRESS_EVERY_S:
            self._kind, self._logged_s = kind, now_s
            log.info("%s", doing)
