"""Work that takes time: in a thread where there is an event loop, at once where there is none."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Worker:
    """One piece of work at a time; `changed(busy, what)` tells of beginning and end."""

    def __init__(
        self, changed: Callable[[bool, str], None], failed: Callable[[Exception], None]
    ) -> None:
        self.busy = False
        self._changed, self._failed = changed, failed
        self._thread = ThreadPoolExecutor(1, "potadlab-work")
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # not in a notebook
            self.loop = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside all else, until `close`."""
        if self.loop is None:
            return work.close()
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def do(self, what: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """`work` aside, then `then` with its result; an error goes to `failed`."""
        self._set(True, what)
        if self.loop:
            self.spawn(self._aside(work, then))
        else:
            self._settle(work, then)

    async def _aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        assert self.loop
        try:
            done = await self.loop.run_in_executor(self._thread, work)
        except Exception as error:
            self._fail(error)
        else:
            self._settle(lambda: done, then)

    def _settle(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        try:
            done = work()
            self._set(False, "")
            then(done)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._set(False, "")
        self._failed(error)

    def _set(self, busy: bool, what: str) -> None:
        self.busy = busy
        self._changed(busy, what)

    def from_thread(self, tell: Callable[..., None], *told: Any) -> None:
        """Let the loop's thread tell; widgets belong to it."""
        if self.loop:
            self.loop.call_soon_threadsafe(tell, *told)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False)
