"""Routers to be configured, and drivers to do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.support.junos import Fleet, Keys, Running, fleet, make_keys
from vpnctl.lab.junos.router import Router
from vpnctl.model import EVPN, Listen, Netconf, Pe, Timeouts
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.drivers import open_driver
from vpnctl.provisioning.rendered import Rendered

#: How long a client waits that is not supposed to.
PATIENT = Timeouts(connect=20, rpc=20, commit=20)

_UNIT = """<unit {replace}><name>100</name><encapsulation>vlan-vpls</encapsulation>
  <vlan-id>{vlan}</vlan-id><family><vpls/></family></unit>"""
_INSTANCE = """<instance {replace}><name>{vpn}</name><instance-type>vpls</instance-type>
  <interface><name>ge-0/0/1.100</name></interface>
  <route-distinguisher><rd-type>10.0.0.1:100</rd-type></route-distinguisher>
  <vrf-target><community>target:65000:100</community></vrf-target>
  <protocols><vpls><site-range>16</site-range>
   <site><name>a</name><site-identifier>1</site-identifier></site></vpls></protocols></instance>"""
_TREE = (
    "<interfaces><interface><name>ge-0/0/1</name>" + _UNIT + "</interface></interfaces>"
    "<routing-instances>" + _INSTANCE + "</routing-instances>"
)
OWNED = (
    "/configuration/interfaces/interface[name='ge-0/0/1']/unit[name='100']",
    "/configuration/routing-instances/instance[name='E1']",
)
STANDARD_NAMESPACE = "http://yang.juniper.net/junos/conf/root"


@dataclass
class Kind:
    """A kind of driver, and what it loads."""

    platform: str
    standard: bool

    def rendered(self, *, vlan: str = "600", vpn: str = "E1", more: str = "") -> Rendered:
        if not self.standard:
            tree = _TREE.format(replace='replace="replace"', vlan=vlan, vpn=vpn)
            content = f"<configuration>{tree}{more}</configuration>"
            return Rendered("pe1", self.platform, "junos-xml", content, OWNED, ())
        tree = _TREE.format(replace='nc:operation="replace"', vlan=vlan, vpn=vpn)
        content = (
            '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" '
            'xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">'
            f'<configuration xmlns="{STANDARD_NAMESPACE}">{tree}{more}</configuration></config>'
        )
        return Rendered("pe1", self.platform, "netconf-xml", content, self.owned, ())

    def nothing(self) -> Rendered:
        """Everything of ours goes."""
        if self.standard:
            empty = '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"/>'
            return Rendered("pe1", self.platform, "netconf-xml", empty, (), self.owned)
        return Rendered("pe1", self.platform, "junos-xml", "<configuration/>", (), OWNED)

    @property
    def owned(self) -> tuple[str, ...]:
        if not self.standard:
            return OWNED
        return tuple(f"/{{{STANDARD_NAMESPACE}}}{path[1:]}" for path in OWNED)


@dataclass
class Bench:
    """A router, and drivers for it."""

    kind: Kind
    router: Running
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = self.router.running

    def pe(self, *, timeouts: Timeouts = PATIENT, **access: Any) -> Pe:
        values = {
            "user": "vpnctl",
            "key": str(self.router.keys.client),
            "port": self.router.port,
            "host_key": self.router.keys.fingerprint,
            "timeouts": timeouts,
        }
        return Pe(
            name="pe1",
            address=IPv4Address("127.0.0.1"),
            asn=65000,
            platform=self.kind.platform,
            families=frozenset({EVPN}),
            listen=Listen(IPv4Address("127.0.0.1")),
            port="ge-0/0/1",
            vlans=(1, 4094),
            netconf=Netconf(**values | access),
        )

    def driver(self, **how: Any) -> Driver:
        return open_driver(self.pe(**how))

    def run(self, story: Callable[[Driver], Coroutine[Any, Any, Any]], **how: Any) -> Any:
        """A story on a session that is there, and closed in the end."""

        async def play() -> Any:
            driver = self.driver(**how)
            try:
                await driver.connect()
                return await story(driver)
            finally:
                await driver.close()

        return asyncio.run(play())

    @property
    def new(self) -> set[str]:
        """What is in force now and was not before."""
        return self.router.running - self.before


KINDS = {
    "junos": Kind("junos-mx", standard=False),
    "netconf": Kind("acme", standard=True),
}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def routers(keys: Keys) -> Iterator[Fleet]:
    with fleet(keys) as found:
        yield found


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, routers: Fleet) -> Bench:
    """The same story with every driver."""
    kind = KINDS[request.param]
    return Bench(kind, routers.start(Router("pe1", minute=60), standard=kind.standard))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who has never logged in anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path
