"""Event loops for tests: the browser tests keep one in the main thread."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

WAIT_S = 120  # compiling, at worst, on a busy machine


def in_loop(act):
    """What a coroutine function returns, run in a loop of its own; its errors are ours."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, act()).result()


async def until(true):
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)
