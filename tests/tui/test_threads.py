"""Calls in threads: their order, how many at once, errors, what nobody waits for, and that none keeps the program alive."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from assetforge.tui.session import _AT_ONCE, in_thread

NAME = contextvars.ContextVar("NAME", default="nobody")


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class TestCalls:
    async def test_what_it_gives_comes_back(self):
        assert await in_thread(lambda *parts, end: [*parts, end], 1, 2, end=3) == [1, 2, 3]

    async def test_errors_are_raised_where_they_are_waited_for(self):
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        assert await in_thread(int, "7") == 7

    async def test_every_call_has_the_context_of_its_caller(self):
        async def call(name):
            NAME.set(name)
            return await in_thread(lambda: (NAME.get(), NAME.set("changed in the thread"))[0])

        assert await asyncio.gather(*map(call, "abcdefghijkl")) == [*"abcdefghijkl"]
        assert await in_thread(NAME.get) == "nobody"

    async def test_threads_are_used_again(self):
        await asyncio.gather(*(in_thread(threading.current_thread) for _ in range(30)))
        found = {await in_thread(threading.get_ident) for _ in range(30)}
        assert 1 <= len(found) <= _AT_ONCE

    async def test_more_than_there_are_threads_wait_in_order(self):
        go, begun, busy, most = threading.Event(), [], [], []

        def work(number):
            begun.append(number)
            busy.append(number)
            most.append(len(busy))
            go.wait(10)
            busy.remove(number)
            return number

        calls = [asyncio.create_task(in_thread(work, number)) for number in range(20)]
        await until(lambda: len(begun) == _AT_ONCE)
        await asyncio.sleep(0.05)
        assert len(begun) == _AT_ONCE
        go.set()
        assert await asyncio.gather(*calls) == list(range(20))
        assert max(most) == _AT_ONCE
        assert sorted(begun[:_AT_ONCE]) == list(range(_AT_ONCE))

    async def test_what_nobody_waits_for_any_more_is_not_begun(self):
        go, begun = threading.Event(), []
        busy = [asyncio.create_task(in_thread(go.wait, 10)) for _ in range(_AT_ONCE)]
        late = asyncio.create_task(in_thread(begun.append, 1))
        await asyncio.sleep(0.05)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        go.set()
        await asyncio.gather(*busy)
        await in_thread(int)
        assert not begun

    async def test_what_was_begun_goes_on_to_its_end(self):
        go, begun, done = threading.Event(), threading.Event(), threading.Event()

        def work():
            begun.set()
            go.wait(10)
            done.set()

        call = asyncio.create_task(in_thread(work))
        await until(begun.is_set)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        await until(done.is_set)

    async def test_nothing_is_kept_until_the_next_call(self):
        class Heavy:
            pass

        def fail(_heavy):
            raise ValueError("no")

        gc.disable()
        try:
            given, failed = Heavy(), Heavy()
            kept = [weakref.ref(given), weakref.ref(failed)]
            assert await in_thread(id, given)
            with pytest.raises(ValueError, match="no"):
                await in_thread(fail, failed)
            del given, failed
            await until(lambda: not any(one() for one in kept))
        finally:
            gc.enable()


def test_a_call_that_hangs_lets_the_program_end():
    program = """
import asyncio, threading
from assetforge.tui.session import in_thread
async def main():
    for _ in range(9):
        asyncio.create_task(in_thread(threading.Event().wait))
    await asyncio.sleep(0.1)
asyncio.run(main())
print("left")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "left\n"
    assert not done.stderr
