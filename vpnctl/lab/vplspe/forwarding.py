"""Bridges and pseudowires in the kernel, over netlink.

A pseudowire is a vxlan device that takes frames with our label and sends all of its own to one
peer with the peer's label; an MPLS label of 20 bits fits into a VNI of 24.  Pseudowires of a VPN
are isolated from each other: what comes in on one goes to customer ports only, since every PE has
sent it to every other by itself (the split horizon of RFC 4761 section 4.2.1).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.selection import Difference
from vpnctl.lab.vplspe.values import PeConfig, Pseudowire, VpnAtPe

#: UDP port of VXLAN (RFC 7348 section 5).
PORT = 4789
_ANY_MAC = "00:00:00:00:00:00"
#: Marks the devices that are ours, for whoever looks and for the next start after a kill.
_ALIAS = "vpls-pe"


class Forwarding:
    """The PE's devices in this process's network namespace; use as a context manager.

    Entering makes the bridges, with the customer ports in them and no pseudowire; leaving takes
    everything away that the PE made.  Raises `LabError`.
    """

    def __init__(self, config: PeConfig) -> None:
        self._config = config
        self._vpns = {vpn.name: vpn for vpn in config.vpns}
        self._netlink: Any = None

    def __enter__(self) -> Forwarding:
        with _refusals("make its bridges"):
            self._netlink = IPRoute()
            try:
                self._delete_ours()
                for vpn in self._config.vpns:
                    self._add_bridge(vpn)
            except BaseException:
                self._delete_ours()
                self._netlink.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        with _refusals("remove its devices"):
            self._delete_ours()
            self._netlink.close()

    def change(self, change: Difference) -> None:
        """Remove pseudowires, then add some."""
        for pseudowire in change.remove:
            with _refusals(f"remove {pseudowire.device}"):
                self._delete(self._netlink.link_lookup(ifname=pseudowire.device))
        for pseudowire in change.add:
            with _refusals(f"add {pseudowire.device}"):
                self._add_pseudowire(pseudowire)

    def _add_bridge(self, vpn: VpnAtPe) -> None:
        self._netlink.link(
            "add", ifname=vpn.bridge, kind="bridge",
            # A LAN of the customer's: no protocol of ours on it, and multicast goes everywhere.
            br_stp_state=0, br_mcast_snooping=0,
        )  # fmt: skip
        _keep_silent(vpn.bridge)
        index = self._index(vpn.bridge)
        self._mark(index, f"VPN {vpn.name}")
        self._netlink.link("set", index=index, mtu=vpn.mtu, state="up")
        for interface in vpn.interfaces:
            self._netlink.link("set", index=self._port(vpn, interface), master=index, state="up")

    def _port(self, vpn: VpnAtPe, interface: str) -> int:
        """The device that gives a customer's frames without a tag."""
        found = self._netlink.link_lookup(ifname=interface)
        if not found:
            raise LabError(
                f"VPN {vpn.name}: there is no interface {interface} here",
                hint="it has to be made before the PE is started",
            )
        _keep_silent(interface)
        if vpn.vlan is None:
            return int(found[0])
        name = f"{interface[:10]}.{vpn.vlan}"
        self._netlink.link("set", index=found[0], state="up")
        try:
            self._netlink.link("add", ifname=name, kind="vlan", link=found[0], vlan_id=vpn.vlan)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                raise LabError(
                    f"VPN {vpn.name}: this kernel has no VLAN devices",
                    hint="leave `vlan` out, and give each VPN an interface of its own",
                ) from error
            raise
        _keep_silent(name)
        index = self._index(name)
        self._mark(index, f"VPN {vpn.name}, VLAN {vpn.vlan}")
        return index

    def _add_pseudowire(self, pseudowire: Pseudowire) -> None:
        vpn = self._vpns[pseudowire.vpn]
        self._netlink.link(
            "add", ifname=pseudowire.device, kind="vxlan", vxlan_id=pseudowire.receive,
            vxlan_local=str(self._config.address), vxlan_port=PORT, vxlan_learning=0,
        )  # fmt: skip
        _keep_silent(pseudowire.device)
        index = self._index(pseudowire.device)
        self._mark(index, f"VPN {vpn.name}, VE {pseudowire.ve_id}")
        self._netlink.link("set", index=index, mtu=vpn.mtu, master=self._index(vpn.bridge))
        # Before it is up: a frame that crosses from one pseudowire to another is a loop.
        self._netlink.brport("set", index=index, isolated=1)
        self._netlink.fdb(
            "append", ifindex=index, lladdr=_ANY_MAC, dst=str(pseudowire.peer),
            vni=pseudowire.transmit,
        )  # fmt: skip
        self._netlink.link("set", index=index, state="up")

    def _mark(self, index: int, what: str) -> None:
        self._netlink.link("set", index=index, ifalias=f"{_ALIAS}: {what}")

    def _index(self, name: str) -> int:
        (index,) = self._netlink.link_lookup(ifname=name)
        return int(index)

    def _delete_ours(self) -> None:
        self._delete(
            link["index"]
            for link in self._netlink.get_links()
            if (link.get_attr("IFLA_IFALIAS") or "").startswith(f"{_ALIAS}: ")
        )

    def _delete(self, indices: Iterable[int]) -> None:
        for index in list(indices):
            try:
                self._netlink.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise


def _keep_silent(device: str) -> None:
    """Let the PE say nothing on a customer's LAN: no neighbor discovery, no MLD."""
    # A kernel without IPv6 has no such file.
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """What the kernel refuses, as an error for the operator."""
    try:
        yield
    except NetlinkError as error:
        hints = {
            errno.EPERM: "run as root",
            errno.EEXIST: "another device has that name, or another one has that VNI",
        }
        raise LabError(
            f"the PE cannot {what}: {error.args[1]}", hint=hints.get(error.code, "")
        ) from error
    except OSError as error:
        raise LabError(f"the PE cannot {what}: {error}", hint="run as root") from error
