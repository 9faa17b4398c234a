"""Event loops for tests: the browser tests keep one in the main thread."""

import asyncio
import threading


def in_loop(act):
    """What a coroutine function returns, run in a loop of its own."""
    thread = threading.Thread(target=lambda: found.append(asyncio.run(act())))
    found = []
    thread.start()
    thread.join(timeout=60)
    assert found, "it did not end"
    return found[0]


async def until(true):
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")
