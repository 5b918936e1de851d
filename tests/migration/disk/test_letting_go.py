"""A mirror that is to end is told that all is done, whatever the link does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vpnctl.migration.disk.nbd import Client, Command, Request, Server

SIZE = 1 << 20


def test_who_waits_is_answered_and_nothing_is_done_until_it_is_taken_again(tmp_path: Path) -> None:
    done: list[int] = []
    link = asyncio.Event()

    async def serve(request: Request) -> int:
        done.append(request.offset)
        await link.wait()
        return 5

    async def story() -> None:
        server = Server(SIZE, serve)
        listener = await asyncio.start_unix_server(server.run, tmp_path / "nbd")
        far = await Client.connect(tmp_path / "nbd", "disk0")
        stalled = asyncio.create_task(far.ask(Request(Command.WRITE, 0, 4, b"0000")))
        while not done:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        server.let_go()
        assert await stalled == b""
        await far.ask(Request(Command.WRITE, 4096, 4, b"1111"))
        await far.ask(Request(Command.FLUSH, 0, 0))
        assert done == [0]
        # The answer to what was let go is not said a second time.
        link.set()
        server.take_again()
        refused = await asyncio.gather(
            far.ask(Request(Command.WRITE, 8192, 4, b"2222")), return_exceptions=True
        )
        assert "refused WRITE: 5" in str(refused[0])
        assert done == [0, 8192]
        far.close()
        listener.close()

    asyncio.run(story())
