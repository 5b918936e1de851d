"""Access rules as an operator writes them, and every mistake in them with its place and remedy."""

# ruff: noqa: E501 - messages stand here as the operator sees them

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.ruleset.policies import policy, rendered
from vpnctl.errors import PolicyError
from vpnctl.model.access import (
    AccessRule,
    Fragment,
    Match,
    Rate,
    RateUnit,
    Span,
    TcpFlags,
    Treatment,
)
from vpnctl.ruleset import load

NETWORK = """\
controller: {asn: 65000, router_id: 10.0.0.100, listen: [10.0.0.100]}
sites:
  hq: {kind: enterprise, pes: pe-e}
  cloud1: {kind: cloud, pes: pe-c1}
  cloud2: {kind: cloud, pes: [pe-c2a, pe-c2b]}
  deaf: {kind: enterprise, pes: pe-d}
pes:
  pe-e: {address: 10.0.0.1, families: [vpls, vpnv4, ipv4 flow-vpn, ipv6 flow-vpn]}
  pe-c1: {address: 10.0.0.2, families: [vpls, vpnv4, ipv4 flow-vpn]}
  pe-c2a: {address: 10.0.0.3, families: [vpls, vpnv4, ipv4 flow, ipv6 flow]}
  pe-c2b: {address: 10.0.0.4, families: [vpls, vpnv4, ipv4 flow-vpn, ipv6 flow-vpn]}
  pe-d: {address: 10.0.0.5, families: [vpls, vpnv4]}
"""
HEAD = """\
vpn: E1
service: l3vpn
sites:
  - {site: hq, prefixes: [10.1.0.0/16, "2001:db8:1::/48"]}
  - {site: cloud1, prefixes: 10.2.0.0/16}
  - {site: cloud2, prefixes: [10.3.0.0/16, "2001:db8:3::/48"]}
  - deaf
"""


def e1(*rules: str) -> str:
    return HEAD + "access:\n" + "".join(f"  - {rule}\n" for rule in rules)


def rule_of(*rules: str) -> AccessRule:
    """The last of the rules."""
    return load(policy(NETWORK, e1=e1(*rules))).ruleset.vpns["E1"].access[-1]


HQ4, HQ6 = ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")
BOTH = frozenset((4, 6))
V4 = frozenset((4,))


@pytest.mark.parametrize(
    ("text", "match", "treatment", "sites"),
    [
        (
            "deny: {to: hq, protocol: tcp, port: 22}",
            Match(BOTH, (HQ4, HQ6), protocols=(Span(6, 6),), ports=(Span(22, 22),)),
            Treatment(drop=True),
            ("hq",),
        ),
        (
            "accept: {from: cloud1, to: 10.1.5.0/24, protocol: [udp, tcp], to_port: [8000-8080, 80]}",
            Match(
                V4,
                (ip_network("10.1.5.0/24"),),
                (ip_network("10.2.0.0/16"),),
                protocols=(Span(6, 6), Span(17, 17)),
                destination_ports=(Span(80, 80), Span(8000, 8080)),
            ),
            Treatment(),
            ("cloud1",),
        ),
        (
            "{accept: {to: hq, protocol: icmp6, icmp_type: 128, icmp_code: 0}, rate: 100 packets/s}",
            Match(
                frozenset((6,)),
                (HQ4, HQ6),
                protocols=(Span(58, 58),),
                icmp_types=(Span(128, 128),),
                icmp_codes=(Span(0, 0),),
            ),
            Treatment(rate=Rate(100.0, RateUnit.PACKETS)),
            ("hq",),
        ),
        (
            "{accept: {at: hq, dscp: [ef, cs1, 10-12], length: 0-128}, rate: 2.5 Mb/s, mark: af11}",
            Match(
                BOTH,
                lengths=(Span(0, 128),),
                dscps=(Span(8, 8), Span(10, 12), Span(46, 46)),
            ),
            Treatment(rate=Rate(312_500.0, RateUnit.OCTETS), dscp=10),
            ("hq",),
        ),
        (
            "deny: {at: [hq], protocol: tcp, tcp_flags: [syn, not-ack, not-rst], family: ipv4}",
            Match(V4, protocols=(Span(6, 6),), tcp_flags=TcpFlags(0x02, 0x14)),
            Treatment(drop=True),
            ("hq",),
        ),
        (
            "deny: {at: [cloud1, hq], fragment: [dont-fragment, is-fragment]}",
            Match(V4, fragments=(Fragment.DONT, Fragment.IS)),
            Treatment(drop=True),
            ("hq", "cloud1"),
        ),
        (
            "{deny: {at: hq}}",
            Match(BOTH),
            Treatment(drop=True),
            ("hq",),
        ),
    ],
)
def test_a_rule_means_what_it_says(
    text: str, match: Match, treatment: Treatment, sites: tuple[str, ...]
) -> None:
    rule = rule_of(text)
    assert (rule.match, rule.treatment, rule.sites) == (match, treatment, sites)
    assert str(rule.place) == "p/e1.yaml:9"


MISTAKES: list[tuple[str, tuple[str, ...], str]] = [
    (
        "two verbs",
        ("{deny: {at: hq}, accept: {at: hq}}",),
        """\
p/e1.yaml:9:5  access[0]: must either accept or deny
               write {accept: {..}} or {deny: {..}}, with what the packets are like
""",
    ),
    (
        "nothing to do with what is dropped",
        ("{deny: {at: hq}, mark: ef}",),
        """\
p/e1.yaml:9:5  access[0]: denies packets, and so has nothing to mark
               take `mark` out, or write `accept` instead of `deny`
""",
    ),
    (
        "a site without prefixes",
        ("deny: {to: deaf, at: hq}",),
        """\
p/e1.yaml:9:16  access[0].deny.to: deaf has no `prefixes` (p/e1.yaml:7), so nobody can tell which packets are its own
                write {site: deaf, prefixes: [10.1.0.0/16]} there, or a prefix here
""",
    ),
    (
        "no such site",
        ("deny: {to: hqq, from: 10.0.0.0/8}", "accept: {at: cloud3, protocol: tcp}"),
        """\
p/e1.yaml:9:16  access[0].deny.to: 'hqq' is no site of E1; did you mean 'hq'?
                add it to `sites`, or write a prefix; known sites: cloud1, cloud2, deaf, hq
p/e1.yaml:10:18  access[1].accept.at: 'cloud3' is no site of E1; did you mean 'cloud2'?
                 add it to `sites`, or write a prefix; known sites: cloud1, cloud2, deaf, hq
""",
    ),
    (
        "host bits",
        ("deny: {at: hq, to: [10.1.0.1/16, 10.300.0.0/16]}",),
        """\
p/e1.yaml:9:25  access[0].deny.to[0]: '10.1.0.1/16' is no prefix: 10.1.0.1/16 has host bits set
                write 10.1.0.0/16
p/e1.yaml:9:38  access[0].deny.to[1]: '10.300.0.0/16' is no prefix
                write one like 10.1.0.0/16 or 2001:db8::/32
""",
    ),
    (
        "words and numbers",
        (
            "deny: {at: hq, protocol: [tpc, 300], dscp: [ff, 64], fragment: some, family: ipv5}",
            "{accept: {at: hq, protocol: tcp, port: [99999, 9-1, x], tcp_flags: ak}, rate: 10 Mbit, mark: gold}",
            "{accept: {at: hq}, rate: 0 b/s}",
        ),
        """\
p/e1.yaml:9:31  access[0].deny.protocol[0]: no protocol is called 'tpc'; did you mean 'tcp'?
                known protocols: ah, eigrp, esp, gre, icmp, icmp6, igmp, ipip and 7 more; or write its number
p/e1.yaml:9:36  access[0].deny.protocol[1]: protocol 300 is outside 0 to 255
                choose another
p/e1.yaml:9:49  access[0].deny.dscp[0]: no DSCP is called 'ff'
                known DSCPs: af11, af12, af13, af21, af22, af23, af31, af32 and 16 more; or write its number
p/e1.yaml:9:53  access[0].deny.dscp[1]: DSCP 64 is outside 0 to 63
                choose another
p/e1.yaml:9:68  access[0].deny.fragment: no kind of fragment is called 'some'
                known kinds of fragments: dont-fragment, first-fragment, is-fragment, last-fragment, not-a-fragment
p/e1.yaml:9:82  access[0].deny.family: no IP version is called 'ipv5'; did you mean 'ipv6'?
                known IP versions: ipv4, ipv6
p/e1.yaml:10:45  access[1].accept.port[0]: port 99999 is outside 0 to 65535
                 choose another
p/e1.yaml:10:52  access[1].accept.port[1]: the range 9-1 runs backwards
                 write 1-9
p/e1.yaml:10:57  access[1].accept.port[2]: 'x' is no port
                 write a number of 0 to 65535, or a range like 1-9
p/e1.yaml:10:72  access[1].accept.tcp_flags: no TCP flag is called 'ak'; did you mean 'ack'?
                 known TCP flags: ack, cwr, ece, fin, not-ack, not-cwr, not-ece, not-fin and 8 more
p/e1.yaml:10:83  access[1].rate: '10 Mbit' is no rate
                 write 10 Mb/s, say; units: b/s, kb/s, Mb/s, Gb/s, packets/s
p/e1.yaml:10:98  access[1].mark: no DSCP is called 'gold'
                 known DSCPs: af11, af12, af13, af21, af22, af23, af31, af32 and 16 more; or write its number
p/e1.yaml:11:30  access[2].rate: a rate of 0 lets nothing pass
                 write `deny` instead of `accept`
""",
    ),
    (
        "fields that a protocol does not have",
        (
            "deny: {at: hq, to_port: 22}",
            "deny: {at: hq, protocol: [tcp, icmp], port: 22}",
            "deny: {at: hq, protocol: udp, tcp_flags: [syn, not-syn]}",
            "deny: {at: hq, protocol: tcp, icmp_type: 8}",
        ),
        """\
p/e1.yaml:9:29  access[0].deny.to_port: needs `protocol` with tcp or udp or sctp, and no other
                write `protocol: tcp` beside it
p/e1.yaml:10:49  access[1].deny.port: needs `protocol` with tcp or udp or sctp, and no other
                 write `protocol: tcp` beside it
p/e1.yaml:11:46  access[2].deny.tcp_flags: needs `protocol` with tcp, and no other
                 write `protocol: tcp` beside it
p/e1.yaml:11:47  access[2].deny.tcp_flags[0]: both syn and not-syn: no packet is like that
                 take one out
p/e1.yaml:12:46  access[3].deny.icmp_type: needs `protocol` with icmp or icmp6, and no other
                 write `protocol: icmp` beside it
""",
    ),
    (
        "two IP versions at once",
        ("deny: {to: 10.1.0.0/16, from: 2001:db8::/32, at: hq}",),
        """\
p/e1.yaml:9:11  access[0].deny: no packet is like that: `to` means IPv4 and `from` means IPv6
                let all speak of one IP version
""",
    ),
    (
        "a PE that cannot be told",
        ("deny: {at: [cloud1, hq], protocol: gre}", "deny: {at: deaf, family: ipv4}"),
        """\
p/e1.yaml:9:11  access[0].deny: pe-c1 does not speak ipv6 flow-vpn, so it would enforce nothing of this for IPv6
                add it to pes.pe-c1.families (p/network.yaml:9), or write `family: ipv4` here, or name other sites with `at`
p/e1.yaml:10:11  access[1].deny: pe-d does not speak ipv4 flow-vpn, so it would enforce nothing of this for IPv4
                 add it to pes.pe-d.families (p/network.yaml:12), or name other sites with `at`
""",
    ),
    (
        "an order that routers do not keep",
        (
            "deny: {to: hq, protocol: tcp}",
            "accept: {to: hq, protocol: udp}",
            "accept: {to: hq, from: 192.0.2.0/24}",
            "accept: {to: 10.1.7.0/24, at: hq}",
        ),
        """\
p/e1.yaml:11:5  access[2]: routers look at it before access[0] (p/e1.yaml:9), with which it shares packets: what says more goes first (RFC 8955 section 5.1)
                write it above access[0], or let them share no packets
p/e1.yaml:12:5  access[3]: routers look at it before access[0] (p/e1.yaml:9), with which it shares packets: what says more goes first (RFC 8955 section 5.1)
                write it above access[0], or let them share no packets
""",
    ),
    (
        "decided already",
        ("deny: {to: hq}", "accept: {to: 10.1.0.0/16, at: hq}"),
        """\
p/e1.yaml:10:5  access[1]: is about packets of which access[0] (p/e1.yaml:9) has decided already
                keep one of them, or tell them apart
""",
    ),
    (
        "too long for a route",
        (
            "deny: {at: hq, family: ipv4, length: ["
            + ", ".join(str(1000 + 2 * number) for number in range(1400))
            + "]}",
        ),
        """\
p/e1.yaml:9:5  access[0]: a flow of 4211 octets; at most 4095 fit
               make two rules of it
""",
    ),
    (
        "too many flows",
        (
            "deny: {at: hq, to: ["
            + ", ".join(f"192.0.{number}.0/24" for number in range(40))
            + "], from: ["
            + ", ".join(f"198.51.{number}.0/24" for number in range(40))
            + "]}",
        ),
        """\
p/e1.yaml:9:3  access: these rules are 1600 flows; at most 1000 are taken
               write wider prefixes, or fewer of them
""",
    ),
]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [pytest.param(rules, wanted, id=name) for name, rules, wanted in MISTAKES],
)
def test_a_mistake_is_reported_with_its_remedy(rules: tuple[str, ...], wanted: str) -> None:
    assert "\n".join(rendered(policy(NETWORK, e1=e1(*rules)))) + "\n" == wanted


def test_rules_at_different_sites_do_not_meet() -> None:
    rules = load(
        policy(
            NETWORK,
            e1=e1("deny: {at: hq, to: 10.1.0.0/16}", "accept: {at: cloud1, to: 10.1.7.0/24}"),
        )
    )
    assert len(rules.ruleset.vpns["E1"].access) == 2


def test_what_one_pe_has_one_table_for_is_one_vpns() -> None:
    """With plain flow routes only, a rule for one VPN would hit the others at the PE."""
    e2 = "vpn: E2\nservice: l3vpn\nsites: [hq, cloud2]\n"
    assert rendered(policy(NETWORK, e1=HEAD, e2=e2)) == [
        "p/e2.yaml:3:13  sites[1]: pe-c2a serves E1 (p/e1.yaml:6), and with `ipv4 flow` alone what"
        " is denied there is denied to every VPN\n"
        "                replace it by `ipv4 flow-vpn` in pes.pe-c2a.families (p/network.yaml:10),"
        " or leave the site out",
        "p/e2.yaml:3:13  sites[1]: pe-c2a serves E1 (p/e1.yaml:6), and with `ipv6 flow` alone what"
        " is denied there is denied to every VPN\n"
        "                replace it by `ipv6 flow-vpn` in pes.pe-c2a.families (p/network.yaml:10),"
        " or leave the site out",
    ]


REDIRECT = "{accept: {to: hq}, redirect: scrub}"
SCRUB = "vpn: scrub\nservice: l3vpn\nsites: [SITES]\nextranet: [{to: E1, direction: from}]\n"


def test_a_redirect_needs_a_vpn_that_is_joined_and_there() -> None:
    there = SCRUB.replace("SITES", "hq")
    compiled = load(policy(NETWORK, e1=e1(REDIRECT), scrub=there))
    assert compiled.ruleset.vpns["E1"].access[0].treatment.redirect == "scrub"
    assert rendered(policy(NETWORK, e1=e1(REDIRECT))) == [
        "p/e1.yaml:9:34  access[0].redirect: no VPN is called 'scrub'\n"
        "                known VPNs: E1"
    ]
    alone = there.replace("extranet", "# extranet")
    assert rendered(policy(NETWORK, e1=e1(REDIRECT), scrub=alone)) == [
        "p/e1.yaml:9:34  access[0].redirect: there is no extranet with scrub (p/scrub.yaml:1)\n"
        "                write `extranet: [{to: scrub}]`, if the two may be joined"
    ]
    elsewhere = SCRUB.replace("SITES", "cloud1")
    assert rendered(policy(NETWORK, e1=e1(REDIRECT), scrub=elsewhere)) == [
        "p/e1.yaml:9:34  access[0].redirect: scrub (p/scrub.yaml:1) is not at pe-e\n"
        "                name sites with `at` where it is, or extend it"
    ]


@pytest.mark.parametrize("scrub", ["", SCRUB.replace("SITES", "cloud1")])
def test_a_redirect_is_looked_at_again_when_the_other_vpn_changes(scrub: str) -> None:
    before = load(policy(NETWORK, e1=e1(REDIRECT), scrub=SCRUB.replace("SITES", "hq")))
    after = policy(NETWORK, e1=e1(REDIRECT), **({"scrub": scrub} if scrub else {}))
    with pytest.raises(PolicyError):
        load(after, previous=before)


def test_a_site_that_is_retracted_is_missed_by_its_rules() -> None:
    text = e1("deny: {to: cloud1}").replace("  - {site: cloud1, prefixes: 10.2.0.0/16}\n", "")
    assert rendered(policy(NETWORK, e1=text)) == [
        "p/e1.yaml:8:16  access[0].deny.to: 'cloud1' is no site of E1; did you mean 'cloud2'?\n"
        "                add it to `sites`, or write a prefix; known sites: cloud2, deaf, hq"
    ]
