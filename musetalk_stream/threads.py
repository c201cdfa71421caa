"""Work on a thread that is awaited to its end, whatever happens to who awaits it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Of its own, so that many who read from a slow disk keep nobody waiting who writes. Its threads end
# with the process, after what they have begun.
_WRITERS = ThreadPoolExecutor(4, "writer")


async def to_its_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` on a thread. Cancelled meanwhile, it is awaited all the same: a thread can't be
    stopped, and what it writes after its owner has cleaned up would stay for ever."""
    called = partial(copy_context().run, work, *args, **kwargs)
    task = asyncio.get_running_loop().run_in_executor(_WRITERS, called)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.exception()  # which nobody else will ask for
        raise
