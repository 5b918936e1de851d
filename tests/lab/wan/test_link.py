"""Links that really run: what goes in at one end and what comes out at the other, and when."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.daemons import wait_until
from tests.support.frames import PATIENCE, Port
from tests.support.namespaces import add_address, devices, namespaces, require_root, within
from vpnctl.errors import LabError
from vpnctl.lab.wan import link as wan
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.link import LinkEnd, Method, WanLink, attach, create

pytestmark = pytest.mark.daemon


@dataclass
class Field:
    """A running link, and a port at each end."""

    link: WanLink
    directory: Path
    ends: tuple[LinkEnd, LinkEnd]
    here: Port
    there: Port


@pytest.fixture(params=list(Method), ids=lambda method: method.value)
def by(request: pytest.FixtureRequest) -> Method:
    require_root()
    method: Method = request.param
    if method is Method.NETEM and wan.method() is not Method.NETEM:
        pytest.skip("this kernel has no netem")
    return method


@pytest.fixture
def ends() -> Iterator[tuple[LinkEnd, LinkEnd]]:
    with namespaces(2) as (one, two):
        yield LinkEnd(one, "eth1"), LinkEnd(two, "wan")


@pytest.fixture
def field(by: Method, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path) -> Iterator[Field]:
    link = create(tmp_path, ends, WanFigures(), by=by)
    try:
        here, there = (Port(end.namespace, end.interface) for end in ends)
        with here, there:
            yield Field(link, tmp_path, ends, here, there)
    finally:
        link.remove()


def test_frames_pass_unchanged_in_both_directions(field: Field) -> None:
    payload = bytes(range(255, -1, -1)) * 5 + bytes(range(256))
    field.here.send(payload)
    assert field.there.receive() == payload
    field.there.send(payload + b"back")
    assert field.here.receive() == payload + b"back"


def test_a_vlan_tag_stays_on_its_frame(field: Field) -> None:
    with within(field.ends[1].namespace, _listener_of_everything) as sniffer:
        sniffer.bind((field.ends[1].interface, 0x0003))
        sniffer.settimeout(PATIENCE)
        field.here.send(b"tagged", tag=b"\x81\x00\x00\x64")
        while True:
            frame, ancillary, _, _ = sniffer.recvmsg(65536, 256)
            if frame.endswith(b"tagged"):
                break
    # The kernel hands over the tag beside the frame: tp_vlan_tci of struct tpacket_auxdata.
    ((_, _, auxiliary),) = ancillary
    assert int.from_bytes(auxiliary[16:18], sys.byteorder) == 100


def _listener_of_everything() -> socket.socket:
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sniffer.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
    return sniffer


def test_a_frame_takes_the_delay_at_least(field: Field) -> None:
    field.link.change(WanFigures(delay=0.05))
    for sender, receiver in ((field.here, field.there), (field.there, field.here)):
        sent_at = time.monotonic()
        sender.send(b"slow")
        receiver.receive()
        assert time.monotonic() - sent_at >= 0.05


def test_about_the_share_asked_for_is_lost(field: Field) -> None:
    many, loss = 2000, 0.2
    field.link.change(WanFigures(loss=loss))
    for number in range(many):
        field.here.send(number.to_bytes(2, "big"))
    wait_until(lambda: _passed(field) >= many, "the frames to pass or be lost")
    field.link.change(WanFigures())
    field.here.send(b"last")
    got = field.there.until(b"last")[:-1]
    assert got == sorted(got)
    # Six standard deviations.
    assert abs(many - len(got) - many * loss) < 6 * (many * loss * (1 - loss)) ** 0.5


def _passed(field: Field) -> int:
    direction = field.link.status().directions[0]
    return direction.forwarded + sum(direction.dropped.values())


def test_nothing_passes_a_cut_until_it_is_healed(field: Field) -> None:
    # Long enough for the cut to come while it is under way.
    field.link.change(WanFigures(delay=2.0))
    field.here.send(b"under way")
    attach(field.directory).cut()
    assert field.link.status().is_cut
    field.here.send(b"lost")
    field.there.send(b"lost")
    # Other figures do not heal it.
    field.link.change(WanFigures(delay=0.02))
    field.here.send(b"lost, too")
    attach(field.directory).heal()
    assert not field.link.status().is_cut
    field.here.send(b"there")
    field.there.send(b"and back")
    assert field.there.until(b"there") == [b"there"]
    assert field.here.until(b"and back") == [b"and back"]


def test_what_does_not_fit_in_front_of_a_slow_line_is_dropped(field: Field) -> None:
    figures = WanFigures(rate=8_000)
    field.link.change(figures)
    frames, size, refused = 100, 1500, 0
    begun = time.monotonic()
    for number in range(frames):
        try:
            field.here.send(bytes([number]).ljust(size))
        except OSError as error:
            # The kernel tells a sender of its own.
            if error.errno != errno.ENOBUFS:
                raise
            refused += 1
    # What was not in the buffer or the bucket, and has not left since, is lost.
    held = figures.buffer_octets(1600) + 2 * (1600 + 18)
    left = (time.monotonic() - begun) * figures.rate / 8
    assert refused >= frames - (held + left) // (14 + size) - 5
    assert sum(field.link.status().directions[0].dropped.values()) >= refused


def test_figures_of_a_running_link_can_be_changed(field: Field) -> None:
    figures = WanFigures(rate=465_000_000, delay=0.001, loss=0.001)
    field.link.change(figures)
    assert attach(field.directory).status().figures == figures
    other = replace(figures, rate=100_000_000)
    attach(field.directory).change(other)
    assert field.link.status().figures == other
    field.link.change(WanFigures())
    field.here.send(b"still there")
    field.there.until(b"still there")


def test_status_counts_what_passed(field: Field) -> None:
    before = field.link.status().directions[0]
    for _ in range(10):
        field.here.send(bytes(86))
    for _ in range(10):
        field.there.receive()
    status = field.link.status()
    there = status.directions[0]
    assert (there.source, there.sink) == field.ends
    # The kernels' own chatter (neighbour discovery) comes on top.
    assert there.forwarded - before.forwarded >= 10
    assert there.octets - before.octets >= 1000
    assert status.pid == field.link.pid


def test_nothing_is_left_of_a_removed_link(field: Field) -> None:
    pid = field.link.pid
    field.link.remove()
    assert [devices(end.namespace) for end in field.ends] == [set(), set()]
    assert pid is None or not _runs(pid)
    assert not (field.directory / "control").exists()
    field.link.remove()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -------------------------------------------------------------------------------- the relay alone


@pytest.fixture
def relayed(ends: tuple[LinkEnd, LinkEnd], tmp_path: Path) -> Iterator[WanLink]:
    link = create(tmp_path, ends, WanFigures(), by=Method.RELAY)
    try:
        yield link
    finally:
        link.remove()


def _wait_for_the_end_of(pid: int) -> None:
    assert os.waitpid(pid, 0) == (pid, 0)


def test_a_relay_ends_when_it_is_told_to(relayed: WanLink) -> None:
    pid = relayed.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    _wait_for_the_end_of(pid)
    with pytest.raises(LabError, match="does not answer"):
        relayed.status()


def test_a_relay_ends_with_a_namespace(tmp_path: Path) -> None:
    with namespaces(1) as (stays,):
        with namespaces(1) as (goes,):
            pid = create(
                tmp_path, (LinkEnd(goes, "a"), LinkEnd(stays, "b")), WanFigures(), by=Method.RELAY
            ).pid
            assert pid is not None
        _wait_for_the_end_of(pid)
        # The other end stays, without carrier, as that of a router whose line was cut.
        assert devices(stays) == {"b"}
        attach(tmp_path).remove()
        assert devices(stays) == set()


def test_a_relay_that_was_killed_is_named(
    relayed: WanLink, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path
) -> None:
    pid = relayed.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(LabError, match=f"the relay of {ends[0]} - {ends[1]} does not answer"):
        attach(tmp_path).cut()


def test_a_relay_survives_nonsense_on_its_socket(relayed: WanLink, tmp_path: Path) -> None:
    for nonsense in (b"\xff", b"[]", b"x" * 8192):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.connect(str(tmp_path / "control"))
            asking.send(nonsense)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(tmp_path / "control"))
        assert relayed.status().figures == WanFigures()


def test_only_its_owner_may_control_a_relay(relayed: WanLink, tmp_path: Path) -> None:
    assert relayed.pid
    assert (tmp_path / "control").stat().st_mode & 0o777 == 0o600


def test_an_interface_that_is_down_takes_nothing(
    relayed: WanLink, ends: tuple[LinkEnd, LinkEnd]
) -> None:
    with Port(ends[0].namespace, ends[0].interface) as here:
        subprocess.run(
            ["ip", "-n", ends[1].namespace, "link", "set", ends[1].interface, "down"], check=True
        )
        here.send(b"to nobody")
        wait_until(
            lambda: relayed.status().directions[0].dropped["interface"] > 0, "a frame refused"
        )
        assert relayed.status().pid


# ------------------------------------------------------------------------------------- what fails


def test_a_link_that_cannot_be_made_leaves_nothing_behind(
    by: Method, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path
) -> None:
    nowhere = LinkEnd("ns-test-nowhere", "eth1")
    with pytest.raises(LabError, match="ns-test-nowhere"):
        create(tmp_path, (ends[0], nowhere), WanFigures(), by=by)
    assert devices(ends[0].namespace) == set()
    create(tmp_path, ends, WanFigures(), by=by).remove()


def test_an_interface_that_is_there_already_is_named(
    relayed: WanLink, ends: tuple[LinkEnd, LinkEnd], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(LabError, match="tap device eth1 cannot be made"):
        create(other, ends, WanFigures(), by=Method.RELAY)
    assert relayed.status().pid
    assert devices(ends[0].namespace) == {"eth1"}


def test_what_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    end = LinkEnd("somewhere", "eth1")
    with pytest.raises(LabError, match="is no interface name of 1 to 15 octets"):
        create(tmp_path, (end, LinkEnd("somewhere", "e" * 16)), WanFigures())
    with pytest.raises(LabError, match="too long for a socket"):
        create(tmp_path / ("d" * 90), (end, end), WanFigures())
    with pytest.raises(LabError, match="holds no WAN link"):
        attach(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ip_passes_a_link(field: Field) -> None:
    for number, end in enumerate(field.ends, 1):
        add_address(end.namespace, end.interface, f"10.0.0.{number}/24")
    server = within(field.ends[1].namespace, lambda: socket.create_server(("10.0.0.2", 0)))
    with server:
        port = server.getsockname()[1]
        client = within(
            field.ends[0].namespace, lambda: socket.create_connection(("10.0.0.2", port), PATIENCE)
        )
        with client, server.accept()[0] as accepted:
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
