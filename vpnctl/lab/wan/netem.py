"""A veth pair with netem at both ends, for kernels that have it (tc-netem(8)).

netem delays and loses; a tbf inside it holds the rate: a bucket behind the delay does the same to
a stream of frames as one in front of it.
"""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vpnctl.errors import LabError
from vpnctl.lab import namespaces
from vpnctl.lab.wan import devices
from vpnctl.lab.wan.devices import INNER, ROOT, LinkEnd, Spot
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.status import Direction, Method, WanStatus

#: Frames under way at one end: half a second of 1 Gb/s.
LIMIT_FRAMES = 65536
#: A cut is a discipline of its own: taking the other one's place, it loses what is under way.
_CUT = Spot(ROOT.parent, 0x20000)


def kernel_has_netem() -> bool:
    """Whether netem can really be added, tried in a namespace of its own.  Raises `LabError`."""
    try:
        with namespaces.apart(), IPRoute() as netlink:
            (loopback,) = netlink.link_lookup(ifname="lo")
            netlink.tc("add", "netem", loopback, ROOT.handle, parent=ROOT.parent, delay=1)
    except NetlinkError as error:
        # What the kernel answers for a discipline that it does not know.
        if error.code in (errno.ENOENT, errno.EOPNOTSUPP):
            return False
        raise LabError(f"netem cannot be tried: {error.args[1]}", hint="run as root") from error
    except OSError as error:
        raise LabError(
            f"no network namespace can be made: {error.strerror or error}", hint="run as root"
        ) from error
    return True


@dataclass(frozen=True, slots=True)
class _Said:
    """What the kernel does not tell: kept in a file of the link's directory."""

    figures: WanFigures
    is_cut: bool

    def to_json(self) -> str:
        return json.dumps({"figures": asdict(self.figures), "is_cut": self.is_cut})

    @classmethod
    def from_json(cls, text: str) -> _Said:
        said = json.loads(text)
        return cls(WanFigures(**said["figures"]), bool(said["is_cut"]))


class NetemLink:
    """A `vpnctl.lab.wan.link.WanLink` of the kernel's own."""

    pid = None

    def __init__(self, directory: Path, ends: tuple[LinkEnd, LinkEnd], mtu: int) -> None:
        self._file = directory / "netem.json"
        self._ends = ends
        self._mtu = mtu

    def start(self, figures: WanFigures) -> None:
        """Make the pair and bring it up; nothing is left when that fails."""
        here, there = self._ends
        with devices.routing(here.namespace) as netlink:
            netlink.link(
                "add", kind="veth", ifname=here.interface,
                peer={"ifname": there.interface, "net_ns_fd": there.namespace},
            )  # fmt: skip
        try:
            for end in self._ends:
                devices.bring_up(end, self._mtu)
                # Frames, not bundles of segments: a loss would be of a whole bundle.
                with devices.routing(end.namespace) as netlink:
                    index = devices.index_of(netlink, end)
                    netlink.link("set", index=index, gso_max_segs=1)
            self._set(_Said(figures, is_cut=False))
        except BaseException:
            self.remove()
            raise

    def change(self, figures: WanFigures) -> None:
        """From now on; a link that is cut stays so."""
        self._set(_Said(figures, self._said().is_cut))

    def cut(self) -> None:
        """Let nothing pass."""
        self._set(_Said(self._said().figures, is_cut=True))

    def heal(self) -> None:
        """Let frames pass again."""
        self._set(_Said(self._said().figures, is_cut=False))

    def status(self) -> WanStatus:
        """Figures and counters of now; what was dropped, since the last cut or healing."""
        said = self._said()
        directions = [
            _direction(source, sink, said)
            for source, sink in zip(self._ends, reversed(self._ends), strict=True)
        ]
        return WanStatus(
            Method.NETEM, None, said.figures, said.is_cut, (directions[0], directions[1])
        )

    def remove(self) -> None:
        """Delete the pair; what is gone already is fine."""
        for end in self._ends:
            devices.delete(end)
        self._file.unlink(missing_ok=True)

    def _said(self) -> _Said:
        try:
            return _Said.from_json(self._file.read_text())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{self._file} cannot be read: {error}",
                hint="the lab has to be taken down and up again",
            ) from error

    def _set(self, said: _Said) -> None:
        for end in self._ends:
            with devices.routing(end.namespace) as netlink:
                index = devices.index_of(netlink, end)
                if said.is_cut:
                    _replace(netlink, index, _CUT, WanFigures(loss=1.0))
                else:
                    _replace(netlink, index, ROOT, said.figures)
            if not said.is_cut:
                devices.set_rate(end, said.figures, self._mtu, INNER)
        written = self._file.with_suffix(".new")
        written.write_text(said.to_json())
        written.replace(self._file)


def _replace(netlink: Any, index: int, spot: Spot, figures: WanFigures) -> None:
    """netem at that spot; times are in microseconds, loss in percent (pyroute2's units)."""
    netlink.tc(
        "replace", "netem", index, spot.handle, parent=spot.parent, limit=LIMIT_FRAMES,
        delay=round(figures.delay * 1e6), jitter=round(figures.jitter * 1e6),
        loss=figures.loss * 100,
    )  # fmt: skip


def _direction(source: LinkEnd, sink: LinkEnd, said: _Said) -> Direction:
    dropped = queued = 0
    with devices.routing(source.namespace) as netlink:
        index = devices.index_of(netlink, source)
        qdisc = devices.find_qdisc(netlink, index, "netem", _CUT if said.is_cut else ROOT)
        if qdisc is not None:
            counted = qdisc.get_attr("TCA_STATS")
            dropped, queued = int(counted["drop"]), int(counted["qlen"])
    with devices.routing(sink.namespace) as netlink:
        (link,) = netlink.get_links(devices.index_of(netlink, sink))
        received = link.get_attr("IFLA_STATS64")
    return Direction(
        source, sink, int(received["rx_packets"]), int(received["rx_bytes"]),
        {"netem": dropped}, queued,
    )  # fmt: skip
