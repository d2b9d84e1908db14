"""What many wait for: looked for once, told to all, errors too; nothing kept of it, and ended when nobody waits."""

import asyncio

import pytest

from pipeline.api.shared import Shared


def test_all_that_wait_share_one_whenever_they_came_and_the_next_is_a_new_one() -> None:
    async def run() -> None:
        shared: Shared[int] = Shared()
        begun, started, go = 0, asyncio.Event(), asyncio.Event()

        async def read() -> int:
            nonlocal begun
            begun += 1
            mine = begun
            started.set()
            await go.wait()
            return mine

        early = [asyncio.create_task(shared.get("a", read)) for _ in range(50)]
        await started.wait()
        late = [asyncio.create_task(shared.get("a", read)) for _ in range(50)]
        other = asyncio.create_task(shared.get("b", read))
        await asyncio.sleep(0.01)
        go.set()
        assert set(await asyncio.gather(*early, *late)) == {1}
        assert await other == 2
        assert await shared.get("a", read) == 3
        assert shared.coming == {}

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_ended() -> None:
    async def run() -> None:
        shared: Shared[int] = Shared()
        ended = asyncio.Event()

        async def read() -> int:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return 0

        leaves = [asyncio.create_task(shared.get("a", read)) for _ in range(2)]
        await asyncio.sleep(0.01)
        for one in leaves:
            one.cancel()
        await asyncio.gather(*leaves, return_exceptions=True)
        await asyncio.wait_for(ended.wait(), 5)
        assert shared.coming == {}

    asyncio.run(run())


def test_an_error_is_each_ones_own_and_the_next_is_looked_for() -> None:
    async def run() -> None:
        shared: Shared[int] = Shared()

        async def fail() -> int:
            raise ValueError("no database")

        async def work() -> int:
            return 5

        said = await asyncio.gather(*(shared.get("a", fail) for _ in range(3)), return_exceptions=True)
        assert [str(one) for one in said] == ["no database"] * 3
        assert await shared.get("a", work) == 5
        assert shared.coming == {}

    asyncio.run(run())


def test_one_that_leaves_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        shared: Shared[int] = Shared()
        go = asyncio.Event()

        async def read() -> int:
            await go.wait()
            return 7

        leaves, stays = (asyncio.create_task(shared.get("a", read)) for _ in range(2))
        await asyncio.sleep(0.01)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        go.set()
        assert await stays == 7
        assert shared.coming == {}

    asyncio.run(run())
