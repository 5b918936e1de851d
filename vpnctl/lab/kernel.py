"""Namespaces, links, bridges and sysctls, by netlink."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from vpnctl.errors import LabError
from vpnctl.lab import namespaces
from vpnctl.lab.topology import Endpoint

_BRIDGE = "bridge"
#: RT_SCOPE_LINK of rtnetlink(7).
_LINK_LOCAL = 253


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a namespace; ``addresses`` with their prefix lengths, without link-local."""

    name: str
    addresses: tuple[str, ...]


def exists(namespace: str) -> bool:
    """Whether there is a namespace of this name."""
    return (namespaces.NAMESPACES / namespace).exists()


def make_namespace(namespace: str, sysctls: Mapping[str, str]) -> None:
    """Make a namespace with ``lo`` up; raises `LabError` where it exists or cannot be made."""
    with _explained(f"the namespace {namespace}"):
        namespaces.create(namespace)
        with namespaces.routing(namespace) as inside:
            inside.link("set", index=1, state="up")
        for name, value in sysctls.items():
            _set_sysctl(namespace, name, value)


def remove_namespace(namespace: str) -> None:
    """Remove a namespace with everything in it; fine where there is none."""
    with _explained(f"the namespace {namespace}"):
        namespaces.remove(namespace)


def make_bridge(namespace: str) -> None:
    """Make the bridge of a bridge node, up."""
    with _explained(f"the bridge in {namespace}"), namespaces.routing(namespace) as inside:
        inside.link("add", ifname=_BRIDGE, kind="bridge")
        inside.link("set", index=_index(inside, _BRIDGE), state="up")


def make_port(namespace: str, interface: str) -> None:
    """Put an interface of a bridge node into its bridge."""
    with _explained(f"{interface} in {namespace}"), namespaces.routing(namespace) as inside:
        inside.link(
            "set", index=_index(inside, interface), master=_index(inside, _BRIDGE), state="up"
        )


def join(ends: tuple[Endpoint, Endpoint], names: tuple[str, str], mtu: int) -> None:
    """Join two namespaces by a pair of interfaces that never are anywhere else; both up."""
    (one, other), (here, there) = ends, names
    with _explained(f"the link {one} -- {other}"), namespaces.routing(here) as inside:
        inside.link(
            "add",
            ifname=one.interface,
            kind="veth",
            mtu=mtu,
            peer={"ifname": other.interface, "net_ns_fd": there, "mtu": mtu},
        )
        inside.link("set", index=_index(inside, one.interface), state="up")
        with namespaces.routing(there) as outside:
            outside.link("set", index=_index(outside, other.interface), state="up")


def interfaces(namespace: str) -> tuple[Interface, ...]:
    """The interfaces of a namespace but ``lo``, unless that has an address of its own."""
    with _explained(f"the namespace {namespace}"), namespaces.routing(namespace) as inside:
        addresses: dict[int, list[str]] = {}
        for message in inside.get_addr():
            if message["scope"] != _LINK_LOCAL and message.get("IFA_ADDRESS") not in (
                "127.0.0.1",
                "::1",
            ):
                text = f"{message.get('IFA_ADDRESS')}/{message['prefixlen']}"
                addresses.setdefault(message["index"], []).append(text)
        found = (
            Interface(message.get("IFLA_IFNAME"), tuple(addresses.get(message["index"], ())))
            for message in inside.get_links()
        )
        return tuple(one for one in found if one.name != "lo" or one.addresses)


def _set_sysctl(namespace: str, name: str, value: str) -> None:
    path = Path("/proc/sys", name.replace(".", "/"))
    with _explained(f"the sysctl {name} = {value} in {namespace}"), namespaces.within(namespace):
        path.write_text(value)


def _index(inside: IPRoute, interface: str) -> int:
    found = inside.link_lookup(ifname=interface)
    if not found:
        raise LabError(f"there is no interface {interface}", hint="see 'vpnctl lab inspect'")
    return int(found[0])


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as error:
        number = getattr(error, "code", None) or error.errno
        reason = os.strerror(number) if isinstance(number, int) else str(error)
        raise LabError(
            f"{what}: {reason}", hint="'vpnctl lab down' removes what is there of the lab"
        ) from error
