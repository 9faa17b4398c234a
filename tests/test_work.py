"""Work in a thread beside an event loop: one after the other, and what is left is dropped."""

import asyncio
import threading

from potadlab.dashboard.work import LEFT, Worker
from potadlab.errors import Cancelled


class Told:
    """What a worker tells."""

    def __init__(self):
        self.busy, self.errors, self.done = [], [], []

    def worker(self):
        return Worker(lambda busy, _what: self.busy.append(busy), self.errors.append)


def in_loop(act):
    """Run a coroutine function in a loop of its own; the browser tests keep one in this thread."""
    thread = threading.Thread(target=lambda: found.append(asyncio.run(act())))
    found = []
    thread.start()
    thread.join(timeout=30)
    assert found, "it did not end"


async def until(true):
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


def test_work_that_is_left_is_waited_for_no_longer_and_comes_to_nothing():
    told, compiled, ended = Told(), threading.Event(), threading.Event()

    async def act():
        worker = told.worker()

        def compile_and_more():
            compiled.wait(10)  # what nothing can stop
            left = worker.left
            ended.set()
            return left

        worker.do("first", compile_and_more, told.done.append)
        await asyncio.sleep(0.05)
        assert worker.busy
        worker.leave()
        assert not worker.busy
        assert [str(error) for error in told.errors] == [LEFT]
        worker.do("second", lambda: worker.left, told.done.append)
        await until(lambda: told.done)
        assert told.done == [False]  # the second, while the first still runs
        compiled.set()
        await until(ended.is_set)
        await asyncio.sleep(0.05)
        assert told.done == [False]
        assert told.busy == [True, False, True, False]
        worker.leave()
        assert len(told.errors) == 1  # nothing to leave
        worker.close()
        return True

    in_loop(act)


def test_work_that_is_left_may_ask_and_stop():
    told, stopped, go = Told(), threading.Event(), threading.Event()

    async def act():
        worker = told.worker()

        def step_by_step():
            go.wait(10)
            if worker.left:
                stopped.set()
                raise Cancelled(LEFT)
            raise AssertionError("nobody left it")

        worker.do("steps", step_by_step, told.done.append)
        await asyncio.sleep(0.02)
        worker.leave()
        go.set()
        await until(stopped.is_set)
        await asyncio.sleep(0.05)
        worker.close()
        return True

    in_loop(act)
    assert [str(error) for error in told.errors] == [LEFT]  # told once
    assert told.done == []


def test_an_error_in_work_is_told_and_the_next_work_goes_on():
    told = Told()

    async def act():
        worker = told.worker()
        worker.do("wrong", lambda: 1 // 0, told.done.append)
        await until(lambda: told.errors)
        assert isinstance(told.errors[0], ZeroDivisionError)
        worker.do("right", lambda: 7, told.done.append)
        await until(lambda: told.done)
        worker.close()
        return True

    in_loop(act)
    assert told.done == [7]


def test_without_a_loop_work_is_done_at_once(monkeypatch):
    told = Told()
    monkeypatch.setattr(asyncio, "get_running_loop", no_loop)
    worker = told.worker()
    worker.do("at once", lambda: 7, told.done.append)
    assert told.done == [7]
    worker.do("left by itself", worker.leave, told.done.append)
    assert told.done == [7]
    assert [str(error) for error in told.errors] == [LEFT]
    assert not worker.left


def no_loop():
    raise RuntimeError("no running event loop")


def test_work_asked_from_another_thread_wakes_a_loop_that_sleeps():
    """JupyterLab's controls are answered in a subshell's thread."""
    told, slept = Told(), []

    async def act():
        worker, done = told.worker(), asyncio.Event()
        ask = threading.Timer(0.05, worker.do, ("asked", lambda: 1, lambda _one: done.set()))
        ask.start()
        await asyncio.wait_for(done.wait(), 10)  # nothing else would wake the loop before
        slept.append(told.busy)
        worker.close()
        return True

    in_loop(act)
    assert slept == [[True, False]]
    assert told.errors == []
