"""The controller that a session process works for, and the next one that comes for its sessions."""

from __future__ import annotations

import contextlib
import select
from enum import Enum

from vpnctl.bgp.channel import Channel
from vpnctl.bgp.door import Door
from vpnctl.bgp.report import report
from vpnctl.bgp.wire import HELD_ELSEWHERE, Attach, FrameError, Kind, Problem, version


class Welcome(Enum):
    """What became of somebody at the door."""

    WAITING = "has not said who it is yet"
    REFUSED = "another controller is there, or it was no controller"
    ATTACHED = "is the controller now"
    OUTDATED = "speaks another version, so that nobody can go on with the sessions"


class Controllers:
    """At most one controller at a time; without a ``door`` there is never another one."""

    def __init__(self, channel: Channel, door: Door | None) -> None:
        self._channel: Channel | None = channel
        self._door = door
        self._knocking: Channel | None = None

    @property
    def present(self) -> bool:
        """Whether there is a controller."""
        return self._channel is not None

    @property
    def open(self) -> bool:
        """Whether another one may come when this one is gone."""
        return self._door is not None

    @property
    def backlog(self) -> int:
        """Octets that wait for the controller to read."""
        return self._channel.backlog if self._channel is not None else 0

    @property
    def fd(self) -> int:
        """Of the controller's channel, -1 for none."""
        return self._channel.sock.fileno() if self._channel is not None else -1

    def masks(self) -> dict[int, int]:
        """What is waited for at which descriptor."""
        found = {}
        for waiting in (self._knocking, self._door):
            if waiting is not None:
                fd = waiting.sock.fileno() if isinstance(waiting, Channel) else waiting.fileno()
                found[fd] = select.POLLIN
        if self._channel is not None:
            found[self.fd] = select.POLLIN | (select.POLLOUT if self._channel.backlog else 0)
        return found

    def put(self, kind: int, number: int, payload: bytes = b"") -> None:
        """Tell the controller something; nobody hears it where there is none."""
        if self._channel is not None:
            self._channel.put(kind, number, payload)

    def flush(self) -> bool:
        """Write what the controller takes now; False when it is gone."""
        try:
            if self._channel is not None:
                self._channel.flush()
        except OSError:
            return False
        return True

    def receive(self) -> list[tuple[int, int, bytes]] | None:
        """Frames of the controller; None when it is gone, or not understood."""
        assert self._channel is not None
        try:
            frames = self._channel.receive()
            return None if frames is None else list(frames)
        except OSError:
            return None
        except FrameError as error:
            report(f"the controller is not understood: {error}")
            return None

    def lost(self) -> None:
        """The controller is gone."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def close_door(self) -> None:
        """Nobody comes any more."""
        if self._knocking is not None:
            self._knocking.close()
            self._knocking = None
        if self._door is not None:
            self._door.close()
            self._door = None

    def serve(self, fd: int) -> Welcome:
        """Somebody knocks, or says who it is."""
        if self._knocking is not None and fd == self._knocking.sock.fileno():
            return self._hear(self._knocking)
        sock = self._door.accept() if self._door is not None else None
        if sock is not None:
            if self._knocking is not None:
                self._knocking.close()
            self._knocking = Channel(sock)
        return Welcome.WAITING

    def _hear(self, knocking: Channel) -> Welcome:
        try:
            frames = knocking.receive()
            said = None if frames is None else list(frames)
            if said == []:
                return Welcome.WAITING
            if said is None or len(said) != 1 or said[0][0] != Kind.ATTACH:
                return self._turn_away(knocking, None)
            other = Attach.from_json(said[0][2]).version
        except (OSError, FrameError):
            return self._turn_away(knocking, None)
        if self.present:
            words = "another controller holds the BGP sessions"
            return self._turn_away(knocking, Problem(HELD_ELSEWHERE, words, "stop it first"))
        if other != version():
            words = f"the sessions were held by another version, {version()}"
            self._turn_away(knocking, Problem("version", words))
            return Welcome.OUTDATED
        self._channel, self._knocking = knocking, None
        return Welcome.ATTACHED

    def _turn_away(self, knocking: Channel, problem: Problem | None) -> Welcome:
        if problem is not None:
            with contextlib.suppress(OSError):
                knocking.put(Kind.FAILED, 0, problem.to_json())
                knocking.flush()
        knocking.close()
        self._knocking = None
        return Welcome.REFUSED
