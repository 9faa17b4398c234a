"""Work in a thread beside an event loop: one after the other, and what is left is dropped."""

import asyncio
import threading

from loops import WAIT_S, in_loop, until

from potadlab.dashboard import asking
from potadlab.dashboard.work import LEFT, Latest, Worker
from potadlab.errors import Cancelled


class Told:
    """What a worker tells."""

    def __init__(self):
        self.busy, self.errors, self.done = [], [], []

    def worker(self):
        return Worker(lambda busy, _what: self.busy.append(busy), self.errors.append)


def test_work_that_is_left_is_waited_for_no_longer_and_comes_to_nothing():
    told, compiled, ended = Told(), threading.Event(), threading.Event()

    async def act():
        worker = told.worker()

        def compile_and_more():
            compiled.wait(WAIT_S)  # what nothing can stop
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

    in_loop(act)


def test_work_that_is_left_may_ask_and_stop():
    told, stopped, go = Told(), threading.Event(), threading.Event()

    async def act():
        worker = told.worker()

        def step_by_step():
            go.wait(WAIT_S)
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
        await asyncio.wait_for(done.wait(), WAIT_S)  # nothing else would wake the loop before
        slept.append(told.busy)
        worker.close()

    in_loop(act)
    assert slept == [[True, False]]
    assert told.errors == []


def test_what_work_that_is_left_still_says_is_not_told():
    told, go, said = Told(), threading.Event(), []

    async def act():
        worker = told.worker()

        def says_late():
            go.wait(WAIT_S)
            worker.from_thread(said.append, "of the first")

        def says():
            worker.from_thread(said.append, "of the second")

        worker.do("first", says_late, told.done.append)
        await asyncio.sleep(0.02)
        worker.leave()
        go.set()
        worker.do("second", says, told.done.append)
        await until(lambda: told.done)
        await asyncio.sleep(0.05)
        worker.close()

    in_loop(act)
    assert said == ["of the second"]


def test_an_error_after_work_ends_no_work_that_it_has_begun():
    told, go = Told(), threading.Event()

    async def act():
        worker = told.worker()

        def then(_done):
            worker.do("next", lambda: go.wait(WAIT_S), told.done.append)
            raise ValueError("wrong")

        worker.do("first", lambda: 1, then)
        await until(lambda: told.errors)
        assert worker.busy
        go.set()
        await until(lambda: told.done)
        worker.close()

    in_loop(act)
    assert told.busy == [True, False, True, False]


def test_work_goes_on_no_longer_than_its_worker():
    told, go, left = Told(), threading.Event(), []

    async def act():
        worker = told.worker()

        def slow():
            go.wait(WAIT_S)
            left.append(worker.left)

        worker.do("slow", slow, told.done.append)
        await asyncio.sleep(0.02)
        worker.close()
        assert not worker.busy
        go.set()
        await until(lambda: left)

    in_loop(act)
    assert left == [True]
    assert told.done == []


def test_nothing_comes_of_what_is_dropped_even_if_it_has_begun():
    told, go = Told(), threading.Event()

    async def act():
        latest = Latest(told.worker(), told.errors.append)

        def slow():
            go.wait(WAIT_S)
            return "slow"

        latest.ask(slow, told.done.append)
        await asyncio.sleep(0.02)
        assert latest.running
        latest.drop()
        assert not latest.running
        latest.ask(lambda: "after", told.done.append)
        assert latest.running
        go.set()
        await until(lambda: told.done)
        assert not latest.running
        latest.ask(lambda: 1 // 0, told.done.append)
        await until(lambda: told.errors)
        assert not latest.running
        latest.close()
        await until(lambda: not any(one.name.startswith("potadlab-aside") for one in alive()))

    def alive():
        return [one for one in threading.enumerate() if one not in before]

    before = threading.enumerate()
    in_loop(act)
    assert told.done == ["after"]


def test_repeat_that_is_stopped_and_begun_again_asks_once_at_a_time(monkeypatch):
    told, asked = Told(), []
    monkeypatch.setattr(asking, "REPEAT_S", 0.01)
    monkeypatch.setattr(
        asking.Asks, "ask_allocate", lambda self: asked.append(asyncio.current_task())
    )

    async def act():
        asks = asking.Asks(lambda: None, told.worker(), told.errors.append)
        for _ in range(5):
            asks.toggle()
        assert asks.repeating
        await until(lambda: len(asked) > 5)
        asks.close()
        assert len(set(asked)) == 1, "one that was stopped asks on"

    in_loop(act)


def test_what_was_asked_at_a_moment_is_not_shown_at_another(monkeypatch):
    """The first ask compiles for a minute; somebody steps on meanwhile."""
    told, go, shown = Told(), threading.Event(), []

    class Slow:
        def __init__(self, specs, case, index):
            go.wait(WAIT_S)
            self.index, self.live = index, []

        def allocate(self, order, times):
            return {"at": self.index}

    monkeypatch.setattr(asking, "Asked", Slow)
    monkeypatch.setattr(asking.Asks, "_show", lambda self, what, asked, found: shown.append(found))

    async def act():
        here = [(asking._start(None, 0, "1GiB")[0], 5, "here")]
        asks = asking.Asks(lambda: here[0], told.worker(), told.errors.append)
        asks.ask_allocate()
        await asyncio.sleep(0.02)
        asks.ask_allocate()  # a second press, while the first is at work: nothing
        here[0] = (here[0][0], 6, "there")
        asks.forget()
        asks.ask_allocate()
        go.set()
        await until(lambda: shown)
        await asyncio.sleep(0.05)
        assert asks._asked[0] == (id(here[0][0]), 6)
        asks.close()

    in_loop(act)
    assert shown == [{"at": 6}]
    assert told.errors == []


def test_what_another_thread_hears_is_done_in_the_loop_and_wakes_it():
    told, heard = Told(), []

    async def act():
        worker, home, woken = told.worker(), threading.get_ident(), asyncio.Event()
        worker.in_loop(lambda: heard.append("here"))
        assert heard == ["here"]  # no turn of the loop was needed

        def hear():
            heard.append(threading.get_ident() == home)
            woken.set()

        threading.Timer(0.05, lambda: worker.in_loop(hear)).start()
        await woken.wait()  # nothing else wakes this loop

    in_loop(act)
    assert heard == ["here", True]


def test_without_a_loop_what_is_heard_is_done_at_once(monkeypatch):
    monkeypatch.setattr(asyncio, "get_running_loop", no_loop)
    heard = []
    Told().worker().in_loop(lambda: heard.append(1))
    assert heard == [1]
