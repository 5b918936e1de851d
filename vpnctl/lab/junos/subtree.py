"""Subtree filtering (RFC 6241 section 6), as Junos does it."""

from __future__ import annotations

import copy

from lxml import etree

from vpnctl.lab.junos.notation_xml import local_name


def filtered(configuration: etree._Element, only: etree._Element | None) -> etree._Element:
    """What of a configuration a filter selects; without a filter, nothing."""
    element = etree.Element(configuration.tag)
    if only is not None:
        _select(configuration, only, element)
    return element


def _select(source: etree._Element, only: etree._Element, target: etree._Element) -> None:
    if not len(only):
        target.extend(copy.deepcopy(one) for one in source)
        return
    matches = [one for one in only if not len(one) and (one.text or "").strip()]
    selects = [one for one in only if one not in matches]
    for match in matches:
        found = [one for one in source if _same(one, match)]
        if not found:
            return
        target.extend(copy.deepcopy(one) for one in found)
    if not selects:
        target.extend(
            copy.deepcopy(one) for one in source if not any(_same(one, it) for it in matches)
        )
    for select in selects:
        for one in source:
            if local_name(one) == local_name(select) and _agrees(one, select):
                inner = etree.SubElement(target, one.tag)
                inner.text = one.text
                _select(one, select, inner)


def _same(one: etree._Element, match: etree._Element) -> bool:
    return (
        local_name(one) == local_name(match)
        and (one.text or "").strip() == (match.text or "").strip()
    )


def _agrees(one: etree._Element, select: etree._Element) -> bool:
    """Whether every value that a filter demands is there."""
    return all(
        any(_same(inner, wanted) for inner in one)
        for wanted in select
        if not len(wanted) and (wanted.text or "").strip()
    )
