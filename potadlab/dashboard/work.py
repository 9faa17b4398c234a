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


class Latest:
    """Work on the latest thing asked for, beside all else; what came before it is dropped.

    `worker` lends its loop; an error goes to `failed`.
    """

    def __init__(self, worker: Worker, failed: Callable[[Exception], None]) -> None:
        self._worker, self._failed = worker, failed
        self._thread = ThreadPoolExecutor(1, "potadlab-aside")
        self._wanted: tuple[Callable[[], Any], Callable[[Any], None]] | None = None
        self.running = False

    def ask(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """`work` aside, then `then` with its result, unless something else was asked meanwhile."""
        self._wanted = work, then
        if self._worker.loop is None:
            self._wanted = None
            try:
                done = work()
            except Exception as error:
                return self._failed(error)
            return self._tell(then, done)
        if not self.running:
            self.running = True
            self._worker.spawn(self._run(self._worker.loop))

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._wanted:
                (work, then), self._wanted = self._wanted, None
                try:
                    done = await loop.run_in_executor(self._thread, work)
                except Exception as error:
                    self._failed(error)
                    continue
                if self._wanted is None:
                    self._tell(then, done)
        finally:
            self.running = False

    def _tell(self, then: Callable[[Any], None], done: Any) -> None:
        try:
            then(done)
        except Exception as error:
            self._failed(error)

    def drop(self) -> None:
        """What was asked is no longer wanted, unless it has begun."""
        self._wanted = None
