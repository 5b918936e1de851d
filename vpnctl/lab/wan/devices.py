"""What is done to network devices of other namespaces over netlink, in pyroute2's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from vpnctl.errors import LabError
from vpnctl.lab import namespaces
from vpnctl.lab.wan.figures import WanFigures, frame_octets

#: Full frames that a device keeps for a relay that has no processor: 0.1 s of 465 Mb/s.
RING_FRAMES = 4096
#: tbf lets so much pass at once: what it sends between two ticks of a slow timer, in seconds.
_BURST_TIME = 0.001


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """``namespace``: a name in ``/run/netns``; ``interface``: at most 15 octets."""

    namespace: str
    interface: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.interface}"


@contextmanager
def routing(namespace: str) -> Iterator[Any]:
    """A netlink socket in a namespace; raises `LabError` for what the kernel refuses there."""
    try:
        with namespaces.routing(namespace) as netlink:
            yield netlink
    except NetlinkError as error:
        raise LabError(
            f"the kernel refused a change in namespace {namespace!r}: {error.args[1]}"
        ) from error
    except OSError as error:
        raise LabError(
            f"network namespace {namespace!r} cannot be used: {error.strerror or error}",
            hint="it must be there ('ip netns' lists them), and it takes root",
        ) from error


def index_of(netlink: Any, end: LinkEnd) -> int:
    """Raises `LabError` when there is no such interface."""
    found = netlink.link_lookup(ifname=end.interface)
    if not found:
        raise LabError(f"there is no interface {end.interface} in namespace {end.namespace!r}")
    return int(found[0])


def bring_up(end: LinkEnd, mtu: int) -> None:
    """Set the MTU and the queue's length, then the device up."""
    with routing(end.namespace) as netlink:
        index = index_of(netlink, end)
        netlink.link("set", index=index, mtu=mtu, txqlen=RING_FRAMES)
        netlink.link("set", index=index, state="up")


def delete(end: LinkEnd) -> None:
    """Delete the device; to do so twice is fine, or after its namespace is gone."""
    try:
        with routing(end.namespace) as netlink:
            for index in netlink.link_lookup(ifname=end.interface):
                netlink.link("del", index=index)
    except LabError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a queueing discipline hangs, and the handle that it has."""

    parent: int
    handle: int


#: At the root of a device; and inside another discipline that is there.
ROOT, INNER = Spot(0xFFFFFFFF, 0x10000), Spot(0x10001, 0x100000)


def set_rate(end: LinkEnd, figures: WanFigures, mtu: int, spot: Spot = ROOT) -> None:
    """Give the device's sending side a token bucket filter, change it, or take it away."""
    with routing(end.namespace) as netlink:
        index = index_of(netlink, end)
        if figures.rate is not None:
            octets_per_second = figures.rate // 8
            burst = max(round(octets_per_second * _BURST_TIME), 2 * frame_octets(mtu))
            netlink.tc(
                "replace", "tbf", index, spot.handle, parent=spot.parent,
                rate=octets_per_second, burst=burst, limit=figures.buffer_octets(mtu),
            )  # fmt: skip
        elif find_qdisc(netlink, index, "tbf", spot):
            netlink.tc("del", index=index, handle=spot.handle, parent=spot.parent)


def find_qdisc(netlink: Any, index: int, kind: str, spot: Spot = ROOT) -> Any:
    """The device's queueing discipline of that kind at that spot, else ``None``."""
    for one in netlink.get_qdiscs(index=index):
        if one.get_attr("TCA_KIND") == kind and one["parent"] == spot.parent:
            return one
    return None


def dropped_by_rate(end: LinkEnd) -> int:
    """Frames that did not fit into the buffer in front of the rate, or into the device's ring."""
    with routing(end.namespace) as netlink:
        index = index_of(netlink, end)
        (link,) = netlink.get_links(index)
        qdisc = find_qdisc(netlink, index, "tbf")
        in_buffer = 0 if qdisc is None else int(qdisc.get_attr("TCA_STATS")["drop"])
        return in_buffer + int(link.get_attr("IFLA_STATS64")["tx_dropped"])
