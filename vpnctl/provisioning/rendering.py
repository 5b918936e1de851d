"""A router's intent in the router's own language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from lxml import etree

from vpnctl.errors import RenderError
from vpnctl.provisioning.blocks import FRR, blocks_text, owned_blocks, parse_blocks
from vpnctl.provisioning.confined import fill_confined
from vpnctl.provisioning.documents import (
    BASE,
    JUNOS_XML,
    NETCONF_XML,
    fold,
    owned_paths,
    parse_document,
)
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.profile import Platform, Profiles
from vpnctl.provisioning.refusal import Refusal, refusals, refused, router_refusal
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.semantics import check_intent
from vpnctl.provisioning.semantics_junos import check_document
from vpnctl.provisioning.templates import TemplateMistakeError, fill

# What is there when nothing is.
_EMPTY = {JUNOS_XML: "<configuration/>\n", NETCONF_XML: f'<config xmlns="{BASE}"/>\n', FRR: ""}


def render(
    intent: RouterIntent | None, before: RouterIntent | None, profiles: Profiles
) -> Rendered:
    """The configuration of a router, and what of ``before`` has to go.

    Without an ``intent`` everything of ``before`` goes; one of the two there must be.

    Raises `RenderError` with everything that the router could not have: what its platform does not
    provision, numbers outside its limits or used twice, and, in Junos' XML, what the router's
    schema would let pass (`vpnctl.provisioning.semantics_junos`).
    """
    wanted = before if intent is None else intent
    assert wanted is not None
    platform = profiles.get(wanted.platform)
    if platform is None:
        raise refused([_unknown_platform(wanted, profiles)])
    if intent is None:
        return Rendered(
            router=wanted.router,
            platform=wanted.platform,
            format=platform.profile.format,
            content=_EMPTY[platform.profile.format],
            owned=(),
            delete=_gone((), before, platform, profiles),
        )
    unchanged = intent == before
    intent = _placed(intent, platform)
    wrong = check_intent(intent, platform.profile)
    if wrong:
        raise refused(wrong)
    written = _write(intent, platform)
    if platform.profile.format == JUNOS_XML and written.document is not None:
        broken = check_document(written.document)
        hint = f"correct the templates of {platform.name}"
        if broken:
            raise refused(router_refusal(intent, "platform", one, hint) for one in broken)
    gone = () if unchanged else _gone(written.owned, before, platform, profiles)
    return Rendered(
        router=intent.router,
        platform=intent.platform,
        format=platform.profile.format,
        content=written.content,
        owned=written.owned,
        delete=gone,
    )


def render_each(
    routers: Iterable[tuple[RouterIntent | None, RouterIntent | None]], profiles: Profiles
) -> tuple[Rendered, ...]:
    """`render` for several routers; raises `RenderError` with what is wrong at any of them."""
    rendered, wrong = [], []
    for intent, before in routers:
        try:
            rendered.append(render(intent, before, profiles))
        except RenderError as error:
            wrong += refusals(error)
    if wrong:
        raise refused(wrong)
    return tuple(rendered)


class _Written(NamedTuple):
    """What the templates made; ``document`` is the same as ``content``, of XML."""

    content: str
    owned: tuple[str, ...]
    document: etree._Element | None


def _placed(intent: RouterIntent, platform: Platform) -> RouterIntent:
    """With what the platform does not provision left out, and the rest in its logical system."""
    profile = platform.profile
    if not profile.services:
        return replace(intent, attachments=())
    placed = tuple(
        replace(one, logical_system=one.logical_system or profile.logical_system)
        for one in intent.attachments
    )
    return replace(intent, attachments=placed)


def _write(intent: RouterIntent, platform: Platform) -> _Written:
    """Fill in the templates; raises `RenderError` where they cannot be, or make no XML."""
    profile = platform.profile
    try:
        text = fill_confined(intent, platform) if platform.own else fill(intent, platform)
    except TemplateMistakeError as error:
        raise refused([router_refusal(intent, "platform", str(error), error.hint)]) from error
    if profile.format == FRR:
        root = parse_blocks(text)
        return _Written(blocks_text(root), owned_blocks(root), None)
    try:
        document = parse_document(text)
        fold(document, profile.format, profile.keys)
        owned = owned_paths(document, profile.format, profile.keys)
    except (etree.XMLSyntaxError, ValueError) as error:
        broken = f"the templates of {platform.name} make no XML: {error}"
        raise refused(
            [router_refusal(intent, "platform", broken, "correct the template")]
        ) from error
    content = str(etree.tostring(document, encoding="unicode", pretty_print=True))
    return _Written(content, owned, document)


def _gone(
    owned: tuple[str, ...], before: RouterIntent | None, platform: Platform, profiles: Profiles
) -> tuple[str, ...]:
    """What was ours and is not any more, without what goes with something above it."""
    former = None if before is None else profiles.get(before.platform)
    if before is None or former is None or former.profile.format != platform.profile.format:
        return ()
    kept = set(owned)
    gone = [path for path in _write(_placed(before, former), former).owned if path not in kept]
    above = kept.union(gone)
    return tuple(path for path in gone if above.isdisjoint(_prefixes(path)))


def _prefixes(path: str) -> Iterator[str]:
    """Every path above it, and a few words that are none."""
    for position, character in enumerate(path):
        if character == "/":
            yield path[:position].rstrip()


def _unknown_platform(intent: RouterIntent, profiles: Profiles) -> Refusal:
    return router_refusal(
        intent,
        "platform",
        f"there are no router templates for {intent.platform!r}"
        f"{profiles.suggestion(intent.platform)}",
        f"known platforms: {', '.join(sorted(profiles.platforms))}; "
        "router_templates/README.md says how to add one",
    )
