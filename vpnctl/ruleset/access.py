"""Access rules of a VPN's file, checked against its sites and their PEs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from vpnctl.flowspec.nlri import flow_family
from vpnctl.model import Pe, Place
from vpnctl.model.access import AccessRule, Fragment, Match, Span, TcpFlags, Treatment
from vpnctl.ruleset.access_file import TCP_FLAGS, AccessEntry, End, MatchEntry
from vpnctl.ruleset.access_order import mistakes_of_order
from vpnctl.ruleset.claims import Claim
from vpnctl.ruleset.network import NetworkView
from vpnctl.ruleset.reading import Reading, Step
from vpnctl.ruleset.vpn_file import VpnFile
from vpnctl.yamltree.mistake import Mistake, choices, suggestion

_VERSIONS = {"ipv4": 4, "ipv6": 6}
_ICMP, _TCP, _ICMP6 = 1, 6, 58
_PROTOCOLS_WITH_PORTS = frozenset((_TCP, 17, 132))


@dataclass(frozen=True, slots=True)
class Redirect:
    """A rule forwards packets in the VPN ``to``, which must be at each of ``pes``."""

    to: str
    pes: tuple[str, ...]
    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of a file, in its order, and what they want of other files."""

    rules: tuple[AccessRule, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    claims: tuple[Claim, ...] = ()


def access(reading: Reading[VpnFile], view: NetworkView) -> tuple[Access, list[Mistake]]:
    """The access rules of a file whose shape is right, and every mistake in them."""
    return _Checking(reading, view).run()


class _Checking:
    """The work on the rules of one file; mistakes are collected on the way."""

    def __init__(self, reading: Reading[VpnFile], view: NetworkView) -> None:
        assert reading.model is not None
        self.file: VpnFile = reading.model
        self.reading = reading
        self.view = view
        self.mistakes: list[Mistake] = []
        self._sites = {entry.site: entry for entry in reversed(self.file.sites)}

    def run(self) -> tuple[Access, list[Mistake]]:
        rules: list[AccessRule] = []
        redirects = []
        for index, entry in enumerate(self.file.access):
            verb = "accept" if entry.deny is None else "deny"
            match = entry.accept or entry.deny
            assert match is not None
            written = self.reading.node("access", index).path
            if any(path.startswith(f"{written}.") for path in self.reading.lost):
                continue  # what would be said of the rest follows from what was lost
            rule = self._rule(("access", index), verb, entry, match)
            if rule is None:
                continue
            rules.append(rule)
            if entry.redirect is not None:
                node = self.reading.node("access", index, "redirect")
                pes = tuple(sorted({pe.name for site in rule.sites for pe in self._pes(site)}))
                redirects.append(Redirect(entry.redirect, pes, node.place, node.path))
        # What is said of the order rests on all of them.
        if not self.mistakes and not any(path.startswith("access") for path in self.reading.lost):
            self.mistakes += mistakes_of_order(rules, self.reading.place("access"))
        return Access(tuple(rules), tuple(redirects), self._claims()), self.mistakes

    def _report(self, loc: tuple[Step, ...], message: str, hint: str) -> None:
        self.mistakes.append(self.reading.mistake(loc, message, hint))

    def _pes(self, site: str) -> list[Pe]:
        known = self.view.network.sites.get(site)
        return [] if known is None else [self.view.network.pes[name] for name in known.pes]

    # -- one rule --

    def _rule(
        self, loc: tuple[Step, ...], verb: str, entry: AccessEntry, match: MatchEntry
    ) -> AccessRule | None:
        before = len(self.mistakes)
        at = (*loc, verb)
        ends = {
            key: self._networks((*at, key), value)
            for key, value in (("to", match.to), ("from", match.from_))
        }
        sites = self._enforcing(at, match)
        self._check_fields(at, match)
        if len(self.mistakes) > before:
            return None
        versions = self._versions(at, match, ends)
        if not versions:
            return None
        self._check_families(at, match, sites, versions)
        return AccessRule(
            match=_match(match, versions, ends["to"], ends["from"]),
            treatment=Treatment(verb == "deny", entry.rate, entry.redirect, entry.mark),
            sites=sites,
            place=self.reading.place(*loc),
        )

    def _site(self, loc: tuple[Step, ...], name: str) -> bool:
        """Whether a site that is named at ``loc`` is one of the VPN."""
        if name in self._sites:
            return True
        if not any(path.startswith("sites") for path in self.reading.lost):
            self._report(
                loc,
                f"{name!r} is no site of {self.file.vpn}{suggestion(name, self._sites)}",
                f"add it to `sites`, or write a prefix; {choices(self._sites, 'sites')}",
            )
        return False

    def _networks(
        self, loc: tuple[Step, ...], ends: Sequence[End] | None
    ) -> tuple[IPv4Network | IPv6Network, ...]:
        """The prefixes that are meant by sites and prefixes."""
        found: list[IPv4Network | IPv6Network] = []
        for index, end in enumerate(ends or ()):
            if end.network is not None:
                found.append(end.network)
            elif end.site is not None and self._site((*loc, index), end.site):
                prefixes = self._sites[end.site].prefixes
                place = self.reading.place("sites", self._index(end.site))
                if prefixes is None:
                    self._report(
                        (*loc, index),
                        f"{end.site} has no `prefixes` ({place}), so nobody can tell which packets "
                        "are its own",
                        f"write {{site: {end.site}, prefixes: [10.1.0.0/16]}} there, or a prefix "
                        "here",
                    )
                found += prefixes or ()
        return tuple(dict.fromkeys(found))

    def _index(self, site: str) -> int:
        return next(index for index, one in enumerate(self.file.sites) if one.site == site)

    def _enforcing(self, loc: tuple[Step, ...], match: MatchEntry) -> tuple[str, ...]:
        """The sites whose PEs enforce a rule, in the order of the file."""
        if match.at is not None:
            named = {
                site for index, site in enumerate(match.at) if self._site((*loc, "at", index), site)
            }
        else:
            named = {end.site for end in (*(match.to or ()), *(match.from_ or ())) if end.site}
        return tuple(site for site in self._sites_in_order() if not named or site in named)

    def _sites_in_order(self) -> list[str]:
        return list(dict.fromkeys(entry.site for entry in self.file.sites))

    def _check_fields(self, loc: tuple[Step, ...], match: MatchEntry) -> None:
        """Conditions that go together, or cannot."""
        protocols = {number for span in match.protocol or () for number in range(*_ends(span))}
        for key, wanted, names in (
            ("port", _PROTOCOLS_WITH_PORTS, ("tcp", "udp", "sctp")),
            ("from_port", _PROTOCOLS_WITH_PORTS, ("tcp", "udp", "sctp")),
            ("to_port", _PROTOCOLS_WITH_PORTS, ("tcp", "udp", "sctp")),
            ("icmp_type", frozenset((_ICMP, _ICMP6)), ("icmp", "icmp6")),
            ("icmp_code", frozenset((_ICMP, _ICMP6)), ("icmp", "icmp6")),
            ("tcp_flags", frozenset((_TCP,)), ("tcp",)),
        ):
            if getattr(match, key) is not None and (not protocols or not protocols <= wanted):
                self._report(
                    (*loc, key),
                    f"needs `protocol` with {' or '.join(names)}, and no other",
                    f"write `protocol: {names[0]}` beside it",
                )
        flags = match.tcp_flags or ()
        for index, word in enumerate(flags):
            if f"not-{word}" in flags:
                self._report(
                    (*loc, "tcp_flags", index),
                    f"both {word} and not-{word}: no packet is like that",
                    "take one out",
                )

    def _versions(
        self,
        loc: tuple[Step, ...],
        match: MatchEntry,
        ends: Mapping[str, tuple[IPv4Network | IPv6Network, ...]],
    ) -> frozenset[int]:
        """The IP versions that a rule speaks of."""
        limits: dict[str, set[int]] = {
            key: {int(network.version) for network in networks}
            for key, networks in ends.items()
            if networks
        }
        if match.family is not None:
            limits["family"] = {_VERSIONS[word] for word in match.family}
        protocols = {span for span in match.protocol or () if span[0] == span[1]}
        if match.protocol and protocols == set(match.protocol):
            if protocols == {Span(_ICMP, _ICMP)}:
                limits["protocol"] = {4}
            elif protocols == {Span(_ICMP6, _ICMP6)}:
                limits["protocol"] = {6}
        if match.fragment is not None and Fragment.DONT.value in match.fragment:
            limits["fragment"] = {4}
        versions = {4, 6}.intersection(*limits.values())
        if not versions:
            said = " and ".join(
                f"`{key}` means IPv{'4' if limit == {4} else '6'}"
                for key, limit in limits.items()
                if len(limit) == 1
            )
            self._report(loc, f"no packet is like that: {said}", "let all speak of one IP version")
        return frozenset(versions)

    def _check_families(
        self,
        loc: tuple[Step, ...],
        match: MatchEntry,
        sites: Iterable[str],
        versions: frozenset[int],
    ) -> None:
        """Every PE that is to enforce a rule must be able to hear of it."""
        pes = {pe.name: pe for site in sites for pe in self._pes(site)}
        for version in sorted(versions):
            deaf = [
                pe
                for pe in pes.values()
                if flow_family(version, vpn=True) not in pe.families
                and flow_family(version, vpn=False) not in pe.families
            ]
            for pe in deaf:
                spared = len(versions) == 2 and match.family is None
                other = f", or write `family: ipv{10 - version}` here" if spared else ""
                self._report(
                    loc,
                    f"{pe.name} does not speak {flow_family(version, vpn=True)}, so it would "
                    f"enforce nothing of this for IPv{version}",
                    f"add it to pes.{pe.name}.families ({self.view.pe_places[pe.name]}){other}, "
                    "or name other sites with `at`",
                )

    def _claims(self) -> tuple[Claim, ...]:
        """A PE that speaks plain flow routes only has one table: it can serve one VPN."""
        found = []
        for index, entry in enumerate(self.file.sites):
            for pe in self._pes(entry.site):
                for version in (4, 6):
                    plain = flow_family(version, vpn=False)
                    vpn = flow_family(version, vpn=True)
                    if plain not in pe.families or vpn in pe.families:
                        continue
                    node = self.reading.node("sites", index)
                    found.append(
                        Claim(
                            f"{plain}/{pe.name}",
                            pe.name,
                            self.file.vpn,
                            "",
                            node.place,
                            node.path,
                            f"{pe.name} serves {{by}}, and with `{plain}` alone what is denied "
                            "there is denied to every VPN",
                            f"replace it by `{vpn}` in pes.{pe.name}.families "
                            f"({self.view.pe_places[pe.name]}), or leave the site out",
                            shared=True,
                        )
                    )
        return tuple(found)


def _ends(span: Span) -> tuple[int, int]:
    return span.first, span.last + 1


def _match(
    entry: MatchEntry,
    versions: frozenset[int],
    destinations: tuple[IPv4Network | IPv6Network, ...],
    sources: tuple[IPv4Network | IPv6Network, ...],
) -> Match:
    words = entry.tcp_flags or ()
    present = sum({TCP_FLAGS[word] for word in words if word in TCP_FLAGS})
    absent = sum({TCP_FLAGS[word[4:]] for word in words if word not in TCP_FLAGS})
    return Match(
        versions=versions,
        destinations=destinations,
        sources=sources,
        protocols=_spans(entry.protocol),
        ports=_spans(entry.port),
        destination_ports=_spans(entry.to_port),
        source_ports=_spans(entry.from_port),
        icmp_types=_spans(entry.icmp_type),
        icmp_codes=_spans(entry.icmp_code),
        tcp_flags=TcpFlags(present, absent) if words else None,
        lengths=_spans(entry.length),
        dscps=_spans(entry.dscp),
        fragments=tuple(Fragment(word) for word in dict.fromkeys(entry.fragment or ())),
    )


def _spans(given: Sequence[Span] | None) -> tuple[Span, ...]:
    """Ascending, so that what means the same is the same."""
    return tuple(sorted(set(given or ())))
