"""The sockets: who may use them, what a dead daemon left behind, where TCP is refused."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import socket
import stat
from pathlib import Path

import httpx
import pytest

from tests.support.fake_controller import FakeController
from vpnctl.api.app import create_app
from vpnctl.api.serve import HttpServer, Tcp
from vpnctl.errors import ControllerError, UsageError

#: For what needs no controller of its own.
APP = create_app(FakeController())


def server(
    path: Path, controller: FakeController | None = None, tcp: Tcp | None = None
) -> HttpServer:
    app = APP if controller is None else create_app(controller)
    return HttpServer(app, socket_path=path, tcp=tcp)


async def status(path: Path) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://vpnctl") as client:
        return await client.get("/v1/status")


def test_serves_on_a_socket_of_the_owner_alone_and_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def story() -> None:
        http = server(path)
        http.claim()
        await http.start()
        assert http.listening == (f"unix:{path}",)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await status(path)).json()["status"]["revision"] == 41
        await http.stop()
        assert not path.exists()

    asyncio.run(story())


def test_a_group_may_be_let_in(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    ours = grp.getgrgid(os.getgroups()[0] if os.getuid() else os.getgid())
    http = HttpServer(APP, socket_path=path, socket_group=ours.gr_name)
    http.claim()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == ours.gr_gid
    asyncio.run(http.stop())


def test_a_group_that_there_is_not_is_said_and_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with pytest.raises(UsageError, match="no group no-such-group"):
        HttpServer(APP, socket_path=path, socket_group="no-such-group").claim()
    assert not path.exists()


def test_a_socket_of_a_dead_daemon_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def story() -> None:
        http = server(path)
        http.claim()
        await http.start()
        assert (await status(path)).is_success
        await http.stop()

    asyncio.run(story())


def test_a_live_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def story() -> None:
        first = server(path)
        first.claim()
        await first.start()
        with pytest.raises(ControllerError, match="already running"):
            server(path).claim()
        assert (await status(path)).is_success
        await first.stop()

    asyncio.run(story())


def test_a_listener_without_our_lock_is_left_alone_too(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ControllerError, match="already running"):
            server(path).claim()
        assert path.exists()


def test_a_file_at_the_path_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    with pytest.raises(UsageError, match="no socket"):
        server(path).claim()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", [Path("/tmp/" + "x" * 120), Path("/dev/null/c.sock")])
def test_an_impossible_path_is_a_usage_error(path: Path) -> None:
    with pytest.raises(UsageError, match="socket"):
        server(path).claim()


def test_tcp_without_certificates_is_loopback_only(tmp_path: Path) -> None:
    for address in ("0.0.0.0", "192.0.2.1", "::"):
        with pytest.raises(UsageError, match="without certificates"):
            server(tmp_path / "c.sock", tcp=Tcp(address, 0))
    with pytest.raises(UsageError, match="no IP address"):
        server(tmp_path / "c.sock", tcp=Tcp("example.org", 0))
    with pytest.raises(UsageError, match="TLS needs"):
        server(tmp_path / "c.sock", tcp=Tcp("127.0.0.1", 0, certificate=Path("c.pem")))


def test_serves_loopback_tcp_beside_the_socket(tmp_path: Path) -> None:
    async def story() -> None:
        http = server(tmp_path / "c.sock", tcp=Tcp("127.0.0.1", 0))
        http.claim()
        await http.start()
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{http.listening[1]}/v1/status")
        assert answer.is_success
        port = int(http.listening[1].rpartition(":")[2])
        second = server(tmp_path / "d.sock", tcp=Tcp("127.0.0.1", port))
        with pytest.raises(ControllerError, match="cannot be listened on"):
            second.claim()
        assert not (tmp_path / "d.sock").exists()
        await http.stop()

    asyncio.run(story())


def test_tls_wants_the_clients_certificate(tmp_path: Path, certificates: Path) -> None:
    import ssl

    tcp = Tcp(
        "127.0.0.1",
        0,
        certificates / "server.pem",
        certificates / "server.key",
        certificates / "ca.pem",
    )

    async def story() -> None:
        http = server(tmp_path / "c.sock", tcp=tcp)
        http.claim()
        await http.start()
        url = f"{http.listening[1]}/v1/status"
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        async with httpx.AsyncClient(verify=context) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get(url)
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        async with httpx.AsyncClient(verify=context) as known:
            assert (await known.get(url)).is_success
        await http.stop()

    asyncio.run(story())


def test_stopping_ends_streams_of_events(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    controller = FakeController()
    controller.endless = True

    async def story() -> list[str]:
        http = server(path, controller)
        http.claim()
        await http.start()
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        heard = []
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://vpnctl") as client,
            client.stream("GET", "/v1/events") as stream,
        ):
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    heard.append(json.loads(line[6:])["subject"])
                if len(heard) == 2 and controller.subscribers:
                    await asyncio.gather(http.stop())
        return heard

    assert asyncio.run(asyncio.wait_for(story(), 20)) == ["pe-c2a", "42"]
    assert controller.subscribers == 0
    assert not os.path.lexists(path)
