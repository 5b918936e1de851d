"""A user adds a platform by adding a folder."""

from __future__ import annotations

import os
from configparser import ConfigParser
from pathlib import Path

import pytest
from lxml import etree

from tests.provisioning.rendering.network import ruleset
from vpnctl.errors import RenderError
from vpnctl.provisioning.documents import load_document, owned_text, subtree_filter
from vpnctl.provisioning.intent import intents
from vpnctl.provisioning.profile import ProfileError
from vpnctl.provisioning.profile_files import read_profiles
from vpnctl.provisioning.rendering import render

NETWORK = """\
controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}
sites: {a: {kind: cloud, pes: x}}
pes:
  x: {address: 10.0.0.1, platform: acme, families: evpn, port: eth1, netconf: {user: vpnctl}}
"""
ONE = "vpn: T1\nservice: evpn\nvni: 77\nsites: [a]\n"
TWO = "vpn: T2\nservice: evpn\nvni: 78\nsites: [a]\n"

PROFILE = """\
format: netconf-xml
services: [evpn]
families: [evpn]
keys: [name, vlan-id]
limits: {vlan: 1-4000}
templates: [session.xml.j2]
"""
TEMPLATE = """\
<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"
        xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">
  {% for endpoint in endpoints %}
  <interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces">
    <interface nc:operation="replace">
      <name>{{ endpoint.interface }}</name>
      <description>{{ endpoint.vpn }}</description>
    </interface>
  </interfaces>
  <tenants xmlns="urn:acme">
    <tenant nc:operation="replace">
      <name>{{ endpoint.name }}</name>
      <vni>{{ endpoint.vni }}</vni>
      {% for target in endpoint.import_targets %}
      <import>{{ target }}</import>
      {% endfor %}
    </tenant>
  </tenants>
  {% endfor %}
</config>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the platform ``acme``."""
    acme = tmp_path / "acme"
    acme.mkdir()
    (acme / "profile.yaml").write_text(PROFILE)
    (acme / "session.xml.j2").write_text(TEMPLATE)
    return tmp_path


def test_its_routers_are_rendered_and_cleaned_up_like_any_other(folder: Path) -> None:
    profiles = read_profiles(folder)
    both = intents(ruleset(NETWORK, t1=ONE, t2=TWO))["x"]
    one = intents(ruleset(NETWORK, t1=ONE))["x"]
    rendered = render(one, both, profiles)
    interfaces = "/{urn:ietf:params:xml:ns:yang:ietf-interfaces}interfaces"
    assert rendered.owned == (
        f"{interfaces}/interface[name='eth1.100']",
        "/{urn:acme}tenants/tenant[name='T1_a']",
    )
    assert rendered.delete == (
        f"{interfaces}/interface[name='eth1.101']",
        "/{urn:acme}tenants/tenant[name='T2_a']",
    )
    loaded = etree.fromstring(load_document(rendered))
    names = {
        "if": "urn:ietf:params:xml:ns:yang:ietf-interfaces",
        "acme": "urn:acme",
        "nc": "urn:ietf:params:xml:ns:netconf:base:1.0",
    }
    assert loaded.xpath("//*[@nc:operation='remove']/acme:name/text()", namespaces=names) == [
        "T2_a"
    ]
    # What leads there stands once.
    assert len(loaded.xpath("/nc:config/if:interfaces", namespaces=names)) == 1
    asked = etree.fromstring(subtree_filter("netconf-xml", rendered.owned))
    assert asked.xpath("acme:tenants/acme:tenant/acme:name/text()", namespaces=names) == ["T1_a"]
    assert owned_text(rendered.content, rendered.owned) == (
        "interfaces interface eth1.100 description T1\n"
        "tenants tenant T1_a import 65000:100\n"
        "tenants tenant T1_a vni 77\n"
    )


def test_its_limits_are_kept(folder: Path) -> None:
    router = intents(ruleset(NETWORK.replace("port: eth1", "port: eth1, vlans: 4001-4001"), t1=ONE))
    with pytest.raises(RenderError, match="VLAN 4001 is outside 1 to 4000 on acme"):
        render(router["x"], None, read_profiles(folder))


def test_a_folder_takes_the_place_of_a_shipped_platform(folder: Path) -> None:
    (folder / "acme").rename(folder / "junos-mx")
    assert read_profiles(folder).platforms["junos-mx"].profile.format == "netconf-xml"
    assert read_profiles(folder / "none").platforms["junos-mx"].profile.format == "junos-xml"


def test_it_may_use_the_shared_macros(folder: Path) -> None:
    (folder / "acme" / "profile.yaml").write_text(PROFILE.replace("netconf-xml", "junos-xml"))
    (folder / "acme" / "session.xml.j2").write_text(
        "{% import 'common/junos.j2' as junos %}<configuration>{{ junos.group(router) }}"
        "</configuration>"
    )
    router = intents(ruleset(NETWORK, t1=ONE))["x"]
    assert render(router, None, read_profiles(folder)).owned == (
        "/configuration/protocols/bgp/group[name='vpnctl']",
    )


def test_a_template_that_makes_no_xml_is_told(folder: Path) -> None:
    (folder / "acme" / "session.xml.j2").write_text("<config>{{ router.asn }}")
    router = intents(ruleset(NETWORK, t1=ONE))["x"]
    with pytest.raises(RenderError, match="the templates of acme make no XML: "):
        render(router, None, read_profiles(folder))


def test_every_mistake_in_a_profile_is_told_at_once(folder: Path) -> None:
    (folder / "acme" / "profile.yaml").write_text(
        "format: telnet\nfamilies: [ipv9]\nlimits: {vlan: 9-1, name: '('}\nvlans: 3\n"
        "templates: [a.j2]\n"
    )
    (folder / "beta").mkdir()
    (folder / "beta" / "profile.yaml").write_text("format: [")
    (folder / "gamma").mkdir()
    (folder / "gamma" / "profile.yaml").write_text(PROFILE)
    with pytest.raises(ProfileError) as caught:
        read_profiles(folder)
    told = "\n".join(caught.value.mistakes)
    for part in (
        "acme/profile.yaml: format: ",
        "acme/profile.yaml: families: no family is called 'ipv9'",
        "acme/profile.yaml: limits.vlan: write a range like 1-4094",
        "acme/profile.yaml: limits.name: is no regular expression",
        "acme/profile.yaml: vlans: ",
        "beta/profile.yaml: is no YAML: ",
        "gamma/profile.yaml: templates: there is no session.xml.j2 in the folder",
    ):
        assert part in told


def test_a_template_is_a_file_of_its_own(folder: Path) -> None:
    """A link could lead to any file of the controller's machine, and a pipe would be waited for."""
    template = folder / "acme" / "session.xml.j2"
    template.unlink()
    template.symlink_to("/etc/passwd")
    os.mkfifo(folder / "acme" / "pipe.j2")
    with pytest.raises(ProfileError) as caught:
        read_profiles(folder)
    assert "acme/session.xml.j2: is no regular file" in caught.value.mistakes
    assert "acme/pipe.j2: is no regular file" in caught.value.mistakes


def test_an_installation_has_every_platform() -> None:
    setup = ConfigParser()
    root = Path(__file__).parents[3]
    setup.read(root / "setup.cfg")
    installed = {
        target.rpartition("/")[2]
        for target in setup["options.data_files"]
        if target.startswith("share/vpnctl/router_templates/")
    }
    assert installed == {
        folder.name for folder in (root / "router_templates").iterdir() if folder.is_dir()
    }
