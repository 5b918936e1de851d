"""VPNs that are to be joined: whether the other one is there, and can be."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vpnctl.model import Service
from vpnctl.ruleset.access import Redirect
from vpnctl.ruleset.draft import Draft, Extranet
from vpnctl.ruleset.network_file import OWN_VNI_ONLY
from vpnctl.ruleset.state import State
from vpnctl.yamltree.mistake import Mistake, choices, suggestion


def mistakes_of_joining(
    dirty: Iterable[Draft], state: State, unsaid: Collection[str] | None
) -> list[Mistake]:
    """What is wrong with the extranets and redirects of some drafts, given all others.

    ``unsaid``: names of VPNs whose files are wrong themselves, so that nothing can be said about
    them; None where any name may be such a one.
    """
    checking = _Checking(state, unsaid)
    drafts = tuple(dirty)
    for one in drafts:
        checking.extranets(one)
    for one in drafts:
        checking.redirects(one)
    return checking.mistakes


class _Checking:
    """The work; mistakes are collected on the way."""

    def __init__(self, state: State, unsaid: Collection[str] | None) -> None:
        self._state = state
        self._unsaid = unsaid
        self.mistakes: list[Mistake] = []

    def extranets(self, one: Draft) -> None:
        for extranet in one.extranets:
            other = self._state.draft(extranet.to)
            if other is not None:
                self._check_services(one, extranet, other)
            else:
                self._unknown(extranet.to, extranet)

    def redirects(self, one: Draft) -> None:
        """Packets may be forwarded only in a VPN that is joined with theirs, and is there."""
        for redirect in one.access.redirects:
            other = self._state.draft(redirect.to)
            if other is None:
                self._unknown(redirect.to, redirect)
                continue
            if other.name not in one.partners and one.name not in other.partners:
                self._report(
                    redirect,
                    f"there is no extranet with {other.name} ({other.place})",
                    f"write `extranet: [{{to: {other.name}}}]`, if the two may be joined",
                )
                continue
            there = {pe for member in other.members for pe in member.pes}
            for pe in redirect.pes:
                if pe not in there:
                    self._report(
                        redirect,
                        f"{other.name} ({other.place}) is not at {pe}",
                        "name sites with `at` where it is, or extend it",
                    )

    def _report(self, at: Extranet | Redirect, message: str, hint: str) -> None:
        self.mistakes.append(Mistake(at.place, at.path, message, hint))

    def _unknown(self, name: str, at: Extranet | Redirect) -> None:
        if self._unsaid is None or name in self._unsaid:
            return
        known = self._state.paths
        self._report(
            at, f"no VPN is called {name!r}{suggestion(name, known)}", choices(known, "VPNs")
        )

    def _check_services(self, one: Draft, extranet: Extranet, other: Draft) -> None:
        if not one.service.families & other.service.families:
            self._report(
                extranet,
                f"{other.name} is {_article(other.service.value)} ({other.place}), whose "
                f"routes mean nothing to {_article(one.service.value)}",
                "join VPNs of one service, or an evpn and an l3vpn",
            )
        if one.service is other.service is Service.EVPN:
            self._check_vnis(one, extranet, other)

    def _check_vnis(self, one: Draft, extranet: Extranet, other: Draft) -> None:
        """Each VPN has a VNI of its own, and some routers send with no other than theirs."""
        pes = self._state.view.network.pes
        joined = [member for member in one.members if member.site in extranet.sites]
        present = {pe for member in (*joined, *other.members) for pe in member.pes}
        unable = sorted(name for name in present if pes[name].platform in OWN_VNI_ONLY)
        if unable:
            self._report(
                extranet,
                f"nothing would arrive between {one.name} and {other.name} ({other.place}): "
                f"each has a VNI of its own, and FRR ({', '.join(unable)}) sends with no other",
                "make them one VPN with `links`, or join them as l3vpn",
            )


def _article(service: str) -> str:
    return f"{'an' if service[0] in 'el' else 'a'} {service}"
