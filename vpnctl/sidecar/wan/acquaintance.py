"""Whether the peer of a new connection is the one that this migration goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.wan.greeting import Greeting, Role

Codec: TypeAlias = Mapping[str, Any]


class SourceAcquaintance:
    """The source greets first, offers what its codec can, and takes the answer.

    ``agree`` is given the destination's answer once, and raises `SidecarError` when the codecs
    cannot work together.
    """

    def __init__(
        self, migration: str, incarnation: str, offer: Codec, agree: Callable[[Codec], None]
    ) -> None:
        #: What to greet with: the offer is made until it was answered.
        self.ours = Greeting(migration, Role.SOURCE, incarnation, offer)
        self._agree = agree
        self._peer: Greeting | None = None

    def accept(self, peer: Greeting) -> None:
        """Raises `SidecarError` when the one who answered is not whom we look for."""
        _check_role(peer, Role.DESTINATION)
        if peer.migration != self.ours.migration:
            raise SidecarProtocolError(
                f"the peer answered for the migration {peer.migration!r},"
                f" not {self.ours.migration!r}"
            )
        if self._peer is None:
            self._agree(peer.codec)
            self._peer = peer
            self.ours = replace(self.ours, codec={})
        else:
            _check_same(peer, self._peer)


class DestinationAcquaintance:
    """The destination answers; its first visitor decides which migration it is.

    ``answer`` is given the source's offer once, gives the answer, and raises `SidecarError` when
    the codecs cannot work together.
    """

    def __init__(self, incarnation: str, answer: Callable[[Codec], Codec]) -> None:
        self._ours: Greeting | None = None
        self._incarnation = incarnation
        self._answer = answer
        self._peer: Greeting | None = None

    @property
    def migration(self) -> str:
        """Its name; empty before the first visitor."""
        return self._ours.migration if self._ours is not None else ""

    def answer(self, peer: Greeting) -> Greeting:
        """Our greeting to a visitor; raises `SidecarError` when it is not the one to go on with."""
        _check_role(peer, Role.SOURCE)
        if self._ours is None or self._peer is None:
            codec = self._answer(peer.codec)
            self._ours = Greeting(peer.migration, Role.DESTINATION, self._incarnation, codec)
            self._peer = peer
        elif peer.migration != self._ours.migration:
            raise SidecarError(
                f"this sidecar is busy with the migration {self._ours.migration!r}",
                hint="wait for its end, or start another sidecar on another port",
            )
        else:
            _check_same(peer, self._peer)
        return self._ours if peer.codec else replace(self._ours, codec={})


def _check_role(peer: Greeting, role: Role) -> None:
    if peer.role is not role:
        raise SidecarProtocolError(
            f"both ends are a {peer.role.value}",
            hint="run 'vpnctl sidecar source' at one site, 'vpnctl sidecar destination' at the"
            " other",
        )


def _check_same(peer: Greeting, before: Greeting) -> None:
    if peer.incarnation != before.incarnation:
        raise SidecarProtocolError(
            "the peer was started again and has lost what had arrived",
            hint="the guest runs on at the source; migrate again",
        )
