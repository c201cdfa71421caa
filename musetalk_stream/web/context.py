"""What handlers share, under typed keys of the application."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from ..batcher import Batcher
from ..config import Config
from ..decoding import Decoders
from ..errors import NotReady, SessionNotFound, ShuttingDown
from ..jobs import Jobs
from ..loop_watch import LoopWatch
from ..readying import Readying
from ..recordings import Recordings
from ..registry import SessionRegistry
from ..sessions import Session
from ..shelf import AvatarShelf
from ..stats import EngineStats
from ..store import ChunkStore
from ..supervisor import Supervisor
from .access import caller


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that exists only once the server is ready."""

    avatars: AvatarShelf
    readying: Readying
    jobs: Jobs
    registry: SessionRegistry
    store: ChunkStore
    supervisor: Supervisor
    stats: EngineStats
    decoders: Decoders
    recordings: Recordings

    @property
    def batcher(self) -> Batcher:
        """Of the renderer that is in use."""
        return self.supervisor.batcher


class Readiness:
    """Whether the server can take sessions; if not, what it is doing or what went wrong."""

    def __init__(self) -> None:
        self.services: Services | None = None
        self.doing = "preparing its avatars"
        self.failed: str | None = None
        self.is_draining = False  # it was told to stop, and brings to an end what was begun
        self._settled = asyncio.Event()
        self._given_up = asyncio.Event()

    def tell(self, doing: str) -> None:
        self.doing = doing

    def succeed(self, services: Services) -> None:
        self.services = services
        self._settled.set()

    def fail(self, why: str) -> None:
        self.services = None
        self.failed = why
        self._settled.set()

    def give_up(self, why: str) -> None:
        """What is there is still served, but only another process can speak."""
        self.failed = why
        self._given_up.set()

    async def given_up(self) -> None:
        """Returns once only another process can help."""
        await self._given_up.wait()

    def end(self) -> None:
        self.services = None
        self.doing = "shutting down"

    async def settled(self) -> None:
        """Returns once the server is ready or has failed to become so."""
        await self._settled.wait()


CONFIG: web.AppKey[Config] = web.AppKey("config", Config)
READINESS: web.AppKey[Readiness] = web.AppKey("readiness", Readiness)
LOOP_WATCH: web.AppKey[LoopWatch] = web.AppKey("loop_watch", LoopWatch)


def services(request: web.Request) -> Services:
    """Raises NotReady while the server starts."""
    readiness = request.app[READINESS]
    if readiness.services is None:
        raise NotReady(readiness.failed or f"the server is {readiness.doing}; try again shortly")
    return readiness.services


def require_open(request: web.Request) -> None:
    """Raises ShuttingDown when nothing new is to be begun."""
    if request.app[READINESS].is_draining:
        raise ShuttingDown("the server is about to end: try again shortly", retry_after_s=5)


def session(request: web.Request) -> Session:
    """The one that the path names, for who may see it. Raises SessionNotFound or SessionGone."""
    session_id = request.match_info["session_id"]
    if not session_id.isascii():
        raise SessionNotFound("there is no such session; create one")
    return services(request).registry.get(session_id, caller(request))
