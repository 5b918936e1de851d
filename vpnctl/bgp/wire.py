"""What the controller and the BGP session process say to each other.

Frames go over a stream socket, each a header of 9 octets and a payload::

    0       4      5        9
    | length | kind | session | payload ...

*length* counts the octets of the payload.  *session* is a number given to each BGP session when
it is established and never given again while the controller runs, so that a frame about a session
that has ended since is known for stale and dropped; 0 stands for none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar, Self

from vpnctl.model import AoAlgorithm, Listen

IPAddress = IPv4Address | IPv6Address
#: AFI and SAFI of RFC 4760.
AfiSafi = tuple[int, int]

HEADER = struct.Struct("!IBI")
#: A longer payload is refused on both sides: the other end speaks something else.
MAX_PAYLOAD = 16 * 1024 * 1024
#: `Kind.WRITTEN`: octets written so far, CLOCK_MONOTONIC in nanoseconds.
WRITTEN = struct.Struct("!QQ")
#: `Kind.CONSUMED`: octets processed so far.
CONSUMED = struct.Struct("!Q")
#: `Kind.REFRESH`: AFI, subtype and SAFI as ROUTE-REFRESH has them (RFC 7313 section 3.2).
REFRESH = struct.Struct("!HBB")
#: `Kind.NOTIFY` begins with error code and subcode (RFC 4271 section 4.5); data follows.
NOTIFY = struct.Struct("!BB")
#: Subject of the `Problem` that a second controller is told.
HELD_ELSEWHERE = "controller"


class Kind(IntEnum):
    """Kinds of frames."""

    # session process -> controller
    READY = 1  # `Ready`
    FAILED = 2  # `Problem`: the process cannot work and ends
    CONFIGURED = 3  # `Configured`
    STATE = 4  # `NeighborState`
    UP = 5  # `SessionOpened`
    DOWN = 6  # `SessionClosed`
    UPDATES = 7  # whole UPDATE messages with their headers, as received
    REFRESH = 8  # `REFRESH`
    WRITTEN = 9  # `WRITTEN`: octets of SEND payload handed to the kernel
    # the same, to a controller that goes on with sessions of another one
    HELD = 10  # `SessionOpened`: a session that is up; TOLD and UPDATES say what came before
    TOLD = 11  # messages that the peer was sent
    RESUMED = 12  # everything that came before is said
    IMAGE = 13  # asks for IMAGE_HEARD, IMAGE_TOLD, IMAGE_DONE of a session
    # controller -> session process
    CONFIGURE = 32  # `Configure`
    SEND = 33  # whole BGP messages, written in order
    NOTIFY = 34  # send this NOTIFICATION and close
    CONSUMED = 35  # octets of UPDATES payload that the controller has processed
    STOP = 36  # Cease to every peer, then end
    ATTACH = 37  # `Attach`, the first frame of a controller that was not there from the start
    IMAGE_HEARD = 38  # messages that say what the peer has said until now, in any pieces
    IMAGE_TOLD = 39  # the same of what it was told
    IMAGE_DONE = 40


class FrameError(Exception):
    """The other end sent something that is no frame."""


def frame_header(kind: int, session: int, length: int) -> bytes:
    """The 9 octets before a payload of ``length`` octets; `ValueError` when that is too long."""
    if length > MAX_PAYLOAD:
        raise ValueError(f"a frame of {length} octets is longer than {MAX_PAYLOAD}")
    return HEADER.pack(length, kind, session)


def encode(kind: int, session: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return frame_header(kind, session, len(payload)) + payload


class FrameReader:
    """Frames out of a stream cut anywhere."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER.size

    def feed(self, octets: bytes) -> Iterator[tuple[int, int, bytes]]:
        """``(kind, session, payload)`` of each frame that ``octets`` complete.

        Exhaust the iterator before feeding more.  Raises `FrameError` on a payload above the limit.
        """
        self._parts.append(octets)
        self._have += len(octets)
        # What is missing of a long frame is collected, and joined once, when all of it is here.
        if self._have < self._need:
            return
        stream = octets if len(self._parts) == 1 else b"".join(self._parts)
        position, end = 0, len(stream)
        self._need = HEADER.size
        while end - position >= HEADER.size:
            length, kind, session = HEADER.unpack_from(stream, position)
            if length > self._max_payload:
                raise FrameError(
                    f"a frame claims {length} octets, the limit is {self._max_payload}"
                )
            begin = position + HEADER.size
            if end - begin < length:
                self._need = HEADER.size + length
                break
            position = begin + length
            yield kind, session, stream[begin:position]
        self._parts = [stream[position:]] if position < end else []
        self._have = end - position


def _plain(value: Any) -> Any:
    """``value`` in the types that JSON knows."""
    if isinstance(value, JsonValue):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}  # type: ignore[arg-type]
    if isinstance(value, Listen):
        return [str(value.address), value.port]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _octets(value: Any) -> bytes | None:
    return None if value is None else base64.b64decode(value, validate=True)


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _families(value: Any) -> tuple[AfiSafi, ...]:
    return tuple((int(afi), int(safi)) for afi, safi in value)


def _triples(value: Any) -> tuple[tuple[int, int, int], ...] | None:
    return None if value is None else tuple((int(a), int(b), int(c)) for a, b, c in value)


def _listens(value: Any) -> tuple[Listen, ...]:
    return tuple(Listen(ip_address(address), int(port)) for address, port in value)


class JsonValue:
    """A frozen dataclass that travels as a JSON object with the fields' names as keys."""

    __slots__ = ()
    #: How to read the fields that JSON has no type for.
    _READERS: ClassVar[dict[str, Any]] = {}

    def to_json(self) -> bytes:
        return json.dumps(_plain(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Raises `FrameError` when ``text`` is something else."""
        try:
            return cls._of(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FrameError(f"no {cls.__name__}: {error}") from error

    @classmethod
    def _of(cls, found: dict[str, Any]) -> Self:
        readers = cls._READERS
        return cls(**{key: readers[key](v) if key in readers else v for key, v in found.items()})


@dataclass(frozen=True, slots=True)
class MasterKey(JsonValue):
    """A Master Key Tuple of TCP-AO (RFC 5925 section 3.1).

    ``send`` and ``receive``: SendID and RecvID; ``key``: 1 to 80 octets.
    """

    send: int
    receive: int
    algorithm: AoAlgorithm
    key: bytes = field(repr=False)

    _READERS = {"algorithm": AoAlgorithm, "key": _octets}  # noqa: RUF012


def _master_keys(value: Any) -> tuple[MasterKey, ...]:
    return tuple(MasterKey._of(item) for item in value)


@dataclass(frozen=True, slots=True)
class NeighborConfig(JsonValue):
    """One peer, as the controller wants it.

    The session runs between ``local_address`` and ``peer_address``.  The peer reaches us at
    ``listen_port``; unless ``passive`` we also connect to its ``peer_port``.  A ``local_address``
    of ``0.0.0.0`` or ``::`` means any of ours.  ``families``: (AFI, SAFI) to offer.
    ``hold_time``: seconds to propose, 0 (never expires) or at least 3.  ``hops``: how many hops
    away the peer may be (RFC 5082).  ``restart_time``: seconds that the peer is to wait for us
    when we restart (RFC 4724), None for not offering that; ``long_lived_time``: seconds for which
    it is to keep our routes when that was not enough (RFC 9494), None likewise.  ``md5``: key of
    the TCP segments (RFC 2385), 1 to 80 octets; another key is no other configuration, because it
    changes without ending the session.  ``tcp_ao``: keys of TCP-AO (RFC 5925) instead, the first
    one preferred; likewise, where they are `vpnctl.bgp.tcp_ao.replaceable`.  ``paths``: the most
    paths to one destination that we send and take (RFC 7911), 0 for not offering that, in the
    families ``path_families``.
    """

    name: str
    peer_address: IPAddress
    local_address: IPAddress
    listen_port: int
    peer_port: int
    local_asn: int
    peer_asn: int
    router_id: IPv4Address
    families: tuple[AfiSafi, ...]
    hold_time: int = 90
    passive: bool = False
    hops: int | None = None
    restart_time: int | None = None
    long_lived_time: int | None = None
    md5: bytes | None = field(default=None, repr=False, compare=False)
    tcp_ao: tuple[MasterKey, ...] = field(default=(), repr=False, compare=False)
    paths: tuple[int, int] = (0, 0)
    path_families: tuple[AfiSafi, ...] = ()

    _READERS = {  # noqa: RUF012
        "paths": _pair,
        "path_families": _families,
        "md5": _octets,
        "tcp_ao": _master_keys,
        "peer_address": ip_address,
        "local_address": ip_address,
        "router_id": IPv4Address,
        "families": _families,
    }


@dataclass(frozen=True, slots=True)
class Problem(JsonValue):
    """What could not be done: ``subject`` names the neighbor or listen address concerned."""

    subject: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Configure(JsonValue):
    """Everything that shall be; what is not named goes away.  ``serial`` names the request."""

    serial: int
    neighbors: tuple[NeighborConfig, ...]
    listens: tuple[Listen, ...]

    _READERS = {  # noqa: RUF012
        "neighbors": lambda value: tuple(NeighborConfig._of(item) for item in value),
        "listens": _listens,
    }


@dataclass(frozen=True, slots=True)
class Configured(JsonValue):
    """The answer to `Configure` number ``serial``; ``listening`` names the open sockets."""

    serial: int
    listening: tuple[Listen, ...]
    problems: tuple[Problem, ...]

    _READERS = {  # noqa: RUF012
        "listening": _listens,
        "problems": lambda value: tuple(Problem._of(item) for item in value),
    }


@dataclass(frozen=True, slots=True)
class Ready(JsonValue):
    """The session process runs and waits for its first `Configure`.

    ``sessions``: how many it has held up for the controller to go on with.
    """

    exabgp: str
    pid: int
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Attach(JsonValue):
    """A controller wants to go on with the sessions; ``version``: its `version`."""

    version: str


@dataclass(frozen=True, slots=True)
class NeighborState(JsonValue):
    """Where a peer's state machine is (RFC 4271 section 8.2.2), in lower case.

    ``state``: idle, active, connect, opensent, openconfirm or established; ``reason`` tells why
    the last attempt or session ended.
    """

    neighbor: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionOpened(JsonValue):
    """A session is established; what both sides agreed on.

    ``families``: those that both offered.  ``asn4``: AS numbers have four octets in AS_PATH
    (RFC 6793).  ``message_size``: longest message either side may send, 4096 or 65535 octets
    (RFC 8654).  ``hold_time``: seconds agreed on.  ``refresh``: absent, normal (RFC 2918) or
    enhanced (RFC 7313).  ``restart_time``: seconds that the peer may take to restart, None where
    graceful restart (RFC 4724) was not agreed on; ``restartable``: the families of that;
    ``preserved``: those that the peer has gone on forwarding since the session before;
    ``graceful_notification``: a NOTIFICATION does not change that (RFC 8538).
    ``long_lived``: AFI, SAFI and seconds for which the peer's routes may stay (RFC 9494), None
    where that was not agreed on; ``long_lived_preserved``: as ``preserved``, but for that.
    ``paths_sent`` and ``paths_taken``: families in which path identifiers stand before each NLRI
    (RFC 7911) on our way out, and in.
    """

    neighbor: str
    families: tuple[AfiSafi, ...]
    asn4: bool
    message_size: int
    local_asn: int
    peer_asn: int
    peer_router_id: IPv4Address
    hold_time: int
    refresh: str
    local_address: IPAddress
    local_port: int
    peer_address: IPAddress
    peer_port: int
    restart_time: int | None = None
    restartable: tuple[AfiSafi, ...] = ()
    preserved: tuple[AfiSafi, ...] = ()
    graceful_notification: bool = False
    paths_sent: tuple[AfiSafi, ...] = ()
    paths_taken: tuple[AfiSafi, ...] = ()
    long_lived: tuple[tuple[int, int, int], ...] | None = None
    long_lived_preserved: tuple[AfiSafi, ...] = ()

    _READERS = {  # noqa: RUF012
        "families": _families,
        "restartable": _families,
        "preserved": _families,
        "paths_sent": _families,
        "paths_taken": _families,
        "long_lived": _triples,
        "long_lived_preserved": _families,
        "peer_router_id": IPv4Address,
        "local_address": ip_address,
        "peer_address": ip_address,
    }


@dataclass(frozen=True, slots=True)
class SessionClosed(JsonValue):
    """A session has ended; ``sent`` or ``received``: code and subcode of the NOTIFICATION."""

    neighbor: str
    reason: str
    sent: tuple[int, int] | None = None
    received: tuple[int, int] | None = None

    _READERS = {"sent": _pair, "received": _pair}  # noqa: RUF012


def version() -> str:
    """A digest of everything in this module that both ends must agree on."""
    values = (
        *(MasterKey, NeighborConfig, Problem, Configure, Configured, Ready, NeighborState),
        *(SessionOpened, SessionClosed),
    )
    said = [f"{kind.name}={kind.value}" for kind in Kind]
    said += [f"{each.__name__}.{f.name}:{f.type}" for each in values for f in fields(each)]
    said += [each.format for each in (HEADER, WRITTEN, CONSUMED, REFRESH, NOTIFY)]
    return hashlib.sha256(" ".join(said).encode()).hexdigest()[:16]
