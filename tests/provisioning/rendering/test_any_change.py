"""Whatever the change, a router that had the one has the other afterwards, and nothing beside."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.provisioning.rendering.network import ROUTERS, intent, profiles
from vpnctl.model import RouteTarget
from vpnctl.provisioning.blocks import merge_blocks, owned_blocks_text
from vpnctl.provisioning.documents import load_document, owned_text
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.paths import Step
from vpnctl.provisioning.rendering import render

TARGETS = [RouteTarget.parse(text) for text in ("65000:7", "10.0.0.1:7", "4200000000:7")]
OPERATORS = "router bgp 65000\n neighbor 10.9.9.9 remote-as 65000\n"


@st.composite
def intents_of(draw: st.DrawFn, router: str) -> RouterIntent | None:
    """The router with some of its endpoints, some of them with other targets; or not ours."""
    if draw(st.booleans()) and draw(st.booleans()):
        return None
    whole = intent(router)
    attachments = []
    for one in whole.attachments:
        if draw(st.booleans()):
            targets = draw(st.lists(st.sampled_from(TARGETS), max_size=2, unique=True))
            attachments.append(replace(one, import_targets=tuple(targets) or one.import_targets))
    return replace(whole, hold_time=draw(st.sampled_from((30, 90))), attachments=tuple(attachments))


def put(running: etree._Element, change: etree._Element) -> None:
    """Load a Junos configuration with its marks, as a router does."""
    for new in change:
        step = step_to(new)
        old = next((one for one in running if step.matches(one)), None)
        if "delete" in new.attrib:
            assert old is not None, "what is not there cannot be taken away"
            running.remove(old)
        elif old is None or "replace" in new.attrib or len(new) == 0:
            if old is not None:
                running.remove(old)
            running.append(new)
        else:
            put(old, new)


def step_to(element: etree._Element) -> Step:
    name = element.find("name")
    return Step(None, element.tag, () if name is None else (("name", name.text or ""),))


@pytest.mark.parametrize("platform", [name for name in ROUTERS if name.startswith("junos")])
@settings(max_examples=40)
@given(data=st.data())
def test_on_junos(platform: str, data: st.DataObject) -> None:
    states = [data.draw(intents_of(ROUTERS[platform])) for _ in range(3)]
    running = etree.fromstring(
        "<configuration><system><host-name>pe</host-name></system></configuration>"
    )
    before, had = None, ()
    for state in states:
        if state is None and before is None:
            continue
        rendered = render(state, before, profiles())
        put(running, etree.fromstring(load_document(rendered)))
        assert owned_text(running, {*had, *rendered.owned}) == owned_text(
            rendered.content, rendered.owned
        )
        before, had = state, rendered.owned
    assert running.findtext("system/host-name") == "pe"


@settings(max_examples=40)
@given(data=st.data())
def test_on_frr(data: st.DataObject) -> None:
    states = [data.draw(intents_of("frr")) for _ in range(3)]
    running = OPERATORS
    before, had = None, ()
    for state in states:
        if state is None and before is None:
            continue
        rendered = render(state, before, profiles())
        running = merge_blocks(running, rendered.content, rendered.owned, rendered.delete)
        assert owned_blocks_text(running, {*had, *rendered.owned}) == owned_blocks_text(
            rendered.content, rendered.owned
        )
        before, had = state, rendered.owned
    assert " neighbor 10.9.9.9 remote-as 65000\n" in running
