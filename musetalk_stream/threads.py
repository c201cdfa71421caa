"""Work on a thread that is awaited to its end, whatever happens to who awaits it."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_its_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` on a thread. Cancelled meanwhile, it is awaited all the same: a thread can't be
    stopped, and what it writes after its owner has cleaned up would stay for ever."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
