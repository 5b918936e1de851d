"""The order of access rules: a router's is not the file's, so where it matters both must agree.

A router looks at what says more first (RFC 8955 section 5.1).  Where two rules share packets and do
different things, the file must have them in that order; then what the operator reads from top to
bottom is what happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vpnctl.flowspec.components import Flow, MalformedFlowError
from vpnctl.flowspec.flows import flows
from vpnctl.flowspec.nlri import RD_OCTETS, frame, make_key
from vpnctl.flowspec.precedence import looked_at, may_overlap
from vpnctl.model import Place
from vpnctl.model.access import AccessRule
from vpnctl.yamltree.mistake import Mistake

#: Flows of one VPN and IP version: every pair of them is compared.
MOST_FLOWS = 1000

#: A flow, and the place of its rule among the others.
_Numbered = tuple[int, Flow]


def mistakes_of_order(rules: Sequence[AccessRule], place: Place) -> Iterator[Mistake]:
    """What is wrong with rules together; ``place``: where their list begins."""
    for version in (4, 6):
        expanded = [
            (number, flow)
            for number, rule in enumerate(rules)
            for flow in flows(rule.match, version)
        ]
        if len(expanded) > MOST_FLOWS:
            yield Mistake(
                place,
                "access",
                f"these rules are {len(expanded)} flows; at most {MOST_FLOWS} are taken",
                "write wider prefixes, or fewer of them",
            )
            return
        long = list(_too_long(rules, version, expanded))
        yield from long or _misleading(rules, version, expanded)


def _too_long(
    rules: Sequence[AccessRule], version: int, expanded: Sequence[_Numbered]
) -> Iterator[Mistake]:
    for number, flow in expanded:
        try:
            frame(bytes(RD_OCTETS) + make_key(None, version, flow))
        except MalformedFlowError as error:
            yield _mistake(rules, number, str(error), "make two rules of it")


def _misleading(
    rules: Sequence[AccessRule], version: int, expanded: Sequence[_Numbered]
) -> Iterator[Mistake]:
    """Rules that a router looks at before one that stands above them, or not at all."""
    key = looked_at(version)
    as_looked_at = sorted(expanded, key=lambda each: key(each[1]))
    sites = [frozenset(rule.sites) for rule in rules]
    # By rule: the first one of those above it that it has to do with.
    equal: dict[int, int] = {}
    before: dict[int, int] = {}
    for position, (later, flow) in enumerate(as_looked_at):
        for earlier, other in as_looked_at[position + 1 :]:
            if earlier == later or sites[earlier].isdisjoint(sites[later]):
                continue
            if flow == other:
                low, high = sorted((earlier, later))
                equal[high] = min(low, equal.get(high, low))
            elif (
                earlier < before.get(later, later)
                and rules[earlier].treatment != rules[later].treatment
                and may_overlap(flow, other)
            ):
                before[later] = earlier
    for later, earlier in equal.items():
        yield _mistake(
            rules,
            later,
            f"is about packets of which access[{earlier}] ({rules[earlier].place}) has decided"
            " already",
            "keep one of them, or tell them apart",
        )
    for later, earlier in before.items():
        if later not in equal:
            yield _mistake(
                rules,
                later,
                f"routers look at it before access[{earlier}] ({rules[earlier].place}), with which"
                " it shares packets: what says more goes first (RFC 8955 section 5.1)",
                f"write it above access[{earlier}], or let them share no packets",
            )


def _mistake(rules: Sequence[AccessRule], number: int, message: str, hint: str) -> Mistake:
    return Mistake(rules[number].place, f"access[{number}]", message, hint)
