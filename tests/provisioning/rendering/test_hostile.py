"""No value becomes configuration, and no template becomes a program."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.provisioning.rendering.network import ROUTERS, intent, profiles
from vpnctl.errors import RenderError
from vpnctl.provisioning.documents import parse_document
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.profile import Limits, Platform, Profile
from vpnctl.provisioning.rendering import render
from vpnctl.provisioning.templates import TemplateMistakeError, fill

HOSTILE = (
    "a;b{",
    "]]>",
    "</name></unit><unit><name>1",
    "&lt;name&gt;",
    '" replace="delete',
    "x\n set system root-authentication",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "ünïcødé",
    "名前",
    "a b",
    "$(reboot)",
)
CONTROL = ("\x00", "a\x1bb", "\ufffe")


def named(router: RouterIntent, name: str) -> RouterIntent:
    """The router with a first endpoint of that name, past whatever checks names."""
    first, *others = router.attachments
    return replace(router, attachments=(replace(first, vpn=name), *others))


def shape(content: str) -> list[str]:
    """The elements of a document, without what is written in them."""
    return [element.tag for element in parse_document(content).iter()]


@pytest.mark.parametrize("platform", ["junos-mx", "junos-evo", "junos-evpn", "frr-evpn"])
@pytest.mark.parametrize("name", [*HOSTILE, *CONTROL])
def test_a_name_that_no_policy_has_is_refused(platform: str, name: str) -> None:
    router = intent(ROUTERS[platform])
    with pytest.raises(RenderError) as caught:
        render(named(router, name), None, profiles())
    assert "cannot be the name of an instance" in str(caught.value.mistakes[0])


@pytest.mark.parametrize("name", HOSTILE)
def test_behind_that_it_is_escaped(name: str) -> None:
    router = intent("mx")
    platform = profiles().platforms["junos-mx"]
    content = fill(named(router, name), platform)
    assert shape(content) == shape(fill(router, platform))
    found = etree.fromstring(content).find("logical-systems/routing-instances/instance/name")
    assert found is not None
    assert found.text == f"{name}_cloud1"


@pytest.mark.parametrize("name", CONTROL)
def test_behind_that_a_character_without_a_place_in_xml_is_refused(name: str) -> None:
    with pytest.raises(TemplateMistakeError, match=r"common/junos\.j2:\d+: .* which XML has not"):
        fill(named(intent("mx"), name), profiles().platforms["junos-mx"])


@settings(max_examples=50)
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_whatever_the_name_the_document_has_the_same_shape(name: str) -> None:
    router = intent("mx")
    platform = profiles().platforms["junos-mx"]
    try:
        content = fill(named(router, name), platform)
    except TemplateMistakeError:
        return
    assert shape(content) == shape(fill(router, platform))


def platform_of(template: str, form: str = "frr") -> Platform:
    """A platform with one template."""
    profile = Profile(format=form, families=("evpn",), templates=("t.j2",), limits=Limits())
    return Platform("mine", profile, {"t.j2": template})


@pytest.mark.parametrize("name", [*HOSTILE, *CONTROL])
def test_in_a_text_format_a_value_is_one_plain_word(name: str) -> None:
    platform = platform_of("description {{ endpoints[0].vpn }}\n")
    with pytest.raises(TemplateMistakeError, match=r"mine/t\.j2:1: .* no single word"):
        fill(named(intent("frr"), name), platform)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{{ router.nmae }}", "mine/t.j2:2: .*nmae"),
        ("a\n\n{{ endpoints[0].ve_id }}", "mine/t.j2:3: a value that this endpoint does not have"),
        ("a\n{% if %}", "mine/t.j2:2: Expected an expression"),
        ("{{ router.port + 1 }}", "mine/t.j2:1: TypeError"),
        ("{% include 'other.j2' %}", "mine/t.j2:1: other.j2"),
        ("{{ ''.__class__.__mro__ }}", "mine/t.j2:1: .*unsafe"),
        ("{{ router.__init__.__globals__ }}", "mine/t.j2:1: .*unsafe"),
        ("{{ endpoints.append(1) }}", "mine/t.j2:1: "),
        ("{% for n in range(1000000000) %}{% endfor %}", "mine/t.j2:1: .*Range too big"),
        ("a\n{{ 'a' * 10000000000 }}", "mine/t.j2:2: a repetition to more than 65536"),
        ("a\n{% set x = 100000 * [router] %}", "mine/t.j2:2: a repetition to more than 65536"),
        ("a\n{{ 10 ** 1000000000 }}", r"mine/t.j2:2: there is no \*\* in"),
    ],
)
def test_a_template_that_is_wrong_is_told_by_file_and_line(template: str, message: str) -> None:
    with pytest.raises(TemplateMistakeError, match=message):
        fill(intent("frr"), platform_of(template))
