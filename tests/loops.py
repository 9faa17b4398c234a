"""Event loops for tests: the browser tests keep one in the main thread."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

WAIT_S = 600  # compiling, at worst, on a slow and busy machine: what comes is not waited for longer
_TEST_S = 2 * WAIT_S


def in_loop(act):
    """What a coroutine function returns, run in a loop of its own; its errors are ours."""

    async def bounded():
        return await asyncio.wait_for(act(), _TEST_S)  # what never comes is told, not waited for

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, bounded()).result()


async def until(true):
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)
