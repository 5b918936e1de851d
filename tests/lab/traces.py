"""What a lab may leave on a machine, to be compared before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from tests.lab.small import NAME

_PLACES = ("/run/frr", "/var/log/frr", "/var/tmp/frr", "/run/vpnctl", "/run/netns")


@dataclass(frozen=True)
class Traces:
    """Namespaces, devices and addresses of the host, what runs of a lab, mounts, and files."""

    namespaces: frozenset[str]
    devices: frozenset[str]
    addresses: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]
    files: frozenset[str]

    def beyond(self, before: Traces) -> list[str]:
        """What is there now and was not before."""
        new = {
            name: sorted(getattr(self, name) - getattr(before, name))
            for name in self.__dataclass_fields__
        }
        return [f"{name}: {found}" for name, found in new.items() if found]


def traces(base: Path) -> Traces:
    """What there is now; ``base``: where the lab is kept, which its programs know."""
    with IPRoute() as host:
        devices = frozenset(link.get("IFLA_IFNAME") for link in host.get_links())
        addresses = frozenset(str(each.get("IFA_ADDRESS")) for each in host.get_addr())
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return Traces(
        namespaces=frozenset(filter(_ours, map(str, Path("/run/netns").glob("*")))),
        devices=devices,
        addresses=addresses,
        processes=frozenset(_processes(base)),
        mounts=frozenset(filter(_ours, mounts)),
        files=frozenset(
            filter(
                _ours,
                (str(path) for place in (*_PLACES, base) for path in Path(place).rglob("*")),
            )
        ),
    )


def _ours(path: str) -> bool:
    """Not a namespace of another lab or test, which may run beside this one."""
    return not path.startswith("/run/netns/") or path.startswith(f"/run/netns/vl-{NAME}-")


def _processes(base: Path) -> list[str]:
    """Those that were given the lab's place, but this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if command and f"VPNCTL_LAB_DIR={base}".encode() in environment.split(b"\0"):
            found.append(f"{entry.name} {command}")
    return found
