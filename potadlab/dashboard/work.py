"""Work that takes time: in a thread where there is an event loop, at once where there is none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import Cancelled

LEFT = "cancelled: all is as it was before"


class _Job:
    """A piece of work; `left`: nobody waits for it any longer."""

    left = False


_here = threading.local()  # its job: what this thread works on


class Worker:
    """One piece of work at a time; `changed(busy, what)` tells of beginning and end."""

    def __init__(
        self, changed: Callable[[bool, str], None], failed: Callable[[Exception], None]
    ) -> None:
        self.busy = self._closed = False
        self._changed, self._failed = changed, failed
        self._thread = _thread()
        self._job = _Job()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # not in a notebook
            self.loop = None
        self._home = threading.get_ident()

    def in_loop(self, act: Callable[[], Any]) -> None:
        """Act in the loop's thread: at once if this is it, or if there is no loop.

        An error goes to `failed`.  JupyterLab lets a thread of its own (a subshell) hear what
        people do: everything that is shown would be in the hands of two threads.
        """
        if self.loop is None or threading.get_ident() == self._home:
            self._try(act)
        else:
            self.loop.call_soon_threadsafe(self._try, act)

    def _try(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            self._failed(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside all else, until `close`."""
        if self.loop is None:
            return work.close()
        self.loop.call_soon_threadsafe(self._begin, self.loop, work)

    def _begin(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            return work.close()
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def do(self, what: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """`work` aside, then `then` with its result; an error goes to `failed`."""
        job = self._job = _Job()
        self._set(True, what)

        def known() -> Any:
            _here.job = job
            try:
                return work()
            finally:
                _here.job = None

        if self.loop:
            self.spawn(self._aside(job, known, then))
        else:
            self._settle(job, known, then)

    async def _aside(self, job: _Job, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        assert self.loop
        try:
            done = await self.loop.run_in_executor(self._thread, work)
        except Exception as error:
            self._fail(job, error)
        else:
            self._settle(job, lambda: done, then)

    def _settle(self, job: _Job, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        try:
            done = work()
        except Exception as error:
            return self._fail(job, error)
        if job.left:
            return
        self._set(False, "")
        self._try(lambda: then(done))  # which may begin other work: its errors end nothing

    def _fail(self, job: _Job, error: Exception) -> None:
        if not job.left:
            self._set(False, "")
            self._failed(error)

    def _set(self, busy: bool, what: str) -> None:
        self.busy = busy
        self._changed(busy, what)

    def leave(self) -> None:
        """Wait no longer for the work that goes on; what comes of it is dropped.

        Its thread ends where it next asks `left`: a compilation cannot be stopped before.
        """
        if self.busy:
            self._job.left = True
            self._thread.shutdown(wait=False)
            self._thread = _thread()
            self._set(False, "")
            self._failed(Cancelled(LEFT))

    @property
    def left(self) -> bool:
        """Whether the thread that asks works on what nobody waits for any longer."""
        job: _Job | None = getattr(_here, "job", None)
        return job is not None and job.left

    def from_thread(self, tell: Callable[..., None], *told: Any) -> None:
        """Let the loop's thread tell, unless that work is left by then; widgets belong to it."""
        job: _Job | None = getattr(_here, "job", None)

        def now() -> None:
            if job is None or not job.left:
                tell(*told)

        if self.loop:
            self.loop.call_soon_threadsafe(now)

    def close(self) -> None:
        """Leave what goes on, untold, and let go of the thread."""
        self._job.left, self.busy, self._closed = True, False, True
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=False)


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "potadlab-work")


_Asked = tuple[Callable[[], Any], Callable[[Any], None]]  # work, and what to do with its result


class Latest:
    """Work on the latest thing asked for, beside all else; what came before it is dropped.

    `worker` lends its loop; an error goes to `failed`.
    """

    def __init__(self, worker: Worker, failed: Callable[[Exception], None]) -> None:
        self._worker, self._failed = worker, failed
        self._thread = ThreadPoolExecutor(1, "potadlab-aside")
        self._wanted: _Asked | None = None  # waits
        self._begun: _Asked | None = None  # in the thread, and still wanted
        self._going_on = False

    @property
    def running(self) -> bool:
        """Something that is still wanted is at work, or waits."""
        return self._wanted is not None or self._begun is not None

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
        if not self._going_on:
            self._going_on = True
            self._worker.spawn(self._run(self._worker.loop))

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._wanted:
                asked = self._begun = self._wanted
                self._wanted = None
                try:
                    done = await loop.run_in_executor(self._thread, asked[0])
                except Exception as error:
                    if self._begun is asked:
                        self._begun = None
                        self._failed(error)
                    continue
                if self._begun is asked:
                    self._begun = None
                    if self._wanted is None:
                        self._tell(asked[1], done)
        finally:
            self._going_on = False

    def _tell(self, then: Callable[[Any], None], done: Any) -> None:
        try:
            then(done)
        except Exception as error:
            self._failed(error)

    def drop(self) -> None:
        """What was asked is no longer wanted: nothing comes of it, even if it has begun."""
        self._wanted = self._begun = None

    def close(self) -> None:
        """Let go of the thread."""
        self.drop()
        self._thread.shutdown(wait=False)
