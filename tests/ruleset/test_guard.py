"""The guard of a PE's session, as it is written and as it is meant."""

# ruff: noqa: E501 - messages stand here as the operator sees them

from __future__ import annotations

from ipaddress import ip_network
from textwrap import dedent

import pytest

from vpnctl.errors import PolicyError
from vpnctl.model import AoAlgorithm, AoKey, Beyond, Guard, Secret
from vpnctl.model.guard import DEFAULT_MEMORY
from vpnctl.ruleset import load


def guards(text: str) -> dict[str, Guard]:
    policy = load({"network.yaml": dedent(text).encode()}, ())
    return {name: pe.guard for name, pe in policy.ruleset.network.pes.items()}


def test_without_a_word_only_memory_and_the_first_as_are_guarded() -> None:
    found = guards("""\
        controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}
        sites: {}
        pes: {pe-a: {address: 10.0.0.1}}
        """)
    assert found == {"pe-a": Guard(first_as=True)}
    assert found["pe-a"].memory == DEFAULT_MEMORY


def test_a_pe_says_only_what_is_different() -> None:
    found = guards("""\
        controller:
          asn: 65000
          router_id: 10.0.0.100
          listen: [10.0.0.100, "2001:db8::100"]
          guard:
            md5: {file: "/etc/vpnctl/md5/{pe}"}
            hops: 1
            routes: 1000
            beyond: refuse
            next_hops: own
        sites: {}
        pes:
          pe-a: {address: 10.0.0.1}
          pe-b:
            address: 2001:db8::2
            guard:
              md5: {command: "pass show 'bgp {pe}'"}
              routes: {evpn: 20000}
              warn: 90
              restart: 0
              paths: 500
              memory: 64
              next_hops: [own, 10.9.0.0/16]
              as_path: 32
              first_as: no
          pe-c: {address: 10.0.0.3, guard: {md5: {environment: KEY_C}, beyond: warn}}
        """)
    every = dict.fromkeys(("vpnv4", "vpnv6", "vpls", "evpn"), 1000)
    assert found["pe-a"] == Guard(
        md5=Secret(file="/etc/vpnctl/md5/pe-a"),
        hops=1,
        routes=every,
        beyond=Beyond.REFUSE,
        next_hops=(ip_network("10.0.0.1/32"),),
        first_as=True,
    )
    assert found["pe-b"] == Guard(
        md5=Secret(command=("pass", "show", "bgp pe-b")),
        hops=1,
        routes={"evpn": 20000},
        warn=90,
        beyond=Beyond.REFUSE,
        restart=0,
        paths=500,
        memory=64 << 20,
        next_hops=(ip_network("2001:db8::2/128"), ip_network("10.9.0.0/16")),
        as_path=32,
        first_as=False,
    )
    assert found["pe-c"].md5 == Secret(environment="KEY_C")
    assert found["pe-c"].beyond is Beyond.WARN


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("md5: hunter2", "pes.pe-a.guard.md5: a secret is not written into the policy"),
        ("md5: {}", "pes.pe-a.guard.md5: must name one place"),
        ("md5: {file: /a, command: b}", "pes.pe-a.guard.md5: must name one place"),
        ("md5: {environment: a-b}", "pes.pe-a.guard.md5.environment: 'a-b' is no name of a variable"),
        ("md5: {command: \"'a\"}", "pes.pe-a.guard.md5.command: no command: No closing quotation"),
        ("tcp_ao: hunter2", "pes.pe-a.guard.tcp_ao: must be a list, not a single value"),
        ("tcp_ao: []", "pes.pe-a.guard.tcp_ao: is empty"),
        ("tcp_ao: [hunter2]", "pes.pe-a.guard.tcp_ao[0]: a secret is not written into the policy"),
        ("tcp_ao: [{send: 1, receive: 1}]", "pes.pe-a.guard.tcp_ao[0]: must name one place"),
        ("tcp_ao: [{send: 1, file: /a}]", "pes.pe-a.guard.tcp_ao[0]: the key 'receive' is missing"),
        ("tcp_ao: [{send: 1, receive: 256, file: /a}]", "tcp_ao[0].receive: key id 256 is outside 0 to 255"),
        ("tcp_ao: [{send: 1, receive: 1, file: /a, algorithm: md5}]", "tcp_ao[0].algorithm: no algorithm is called 'md5'"),
        (
            "tcp_ao: [{send: 1, receive: 1, file: /a}, {send: 2, receive: 1, file: /b}]",
            "pes.pe-a.guard.tcp_ao: two keys have the receive id 1",
        ),
        ("md5: {file: /a}, tcp_ao: [{send: 1, receive: 1, file: /a}]", "pes.pe-a.guard: has both md5 and tcp_ao"),
        ("hops: 255", "pes.pe-a.guard.hops: number of hops 255 is outside 1 to 254"),
        ("routes: many", "pes.pe-a.guard.routes: 'many' is no number of routes"),
        ("routes: {vpn4: 5}", "pes.pe-a.guard.routes.vpn4: unknown key 'vpn4'; did you mean 'vpnv4'?"),
        ("beyond: shut", "pes.pe-a.guard.beyond: no action is called 'shut'"),
        ("next_hops: [own, here]", "pes.pe-a.guard.next_hops[1]: 'here' is no network of next hops"),
        ("next_hops: 10.0.0.1/8", "pes.pe-a.guard.next_hops: '10.0.0.1/8' is no network of next hops"),
        ("first_as: perhaps", "pes.pe-a.guard.first_as: 'perhaps' is neither true nor false"),
        ("max_prefix: 5", "pes.pe-a.guard.max_prefix: unknown key 'max_prefix'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place(written: str, told: str) -> None:
    with pytest.raises(PolicyError) as refused:
        guards(f"""\
            controller: {{asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}}
            sites: {{}}
            pes:
              pe-a: {{address: 10.0.0.1, guard: {{{written}}}}}
            """)
    text = "\n".join(map(str, refused.value.mistakes))
    assert told in text
    assert "hunter2" not in text


def test_a_pe_has_its_own_protection_or_the_controllers() -> None:
    found = guards("""\
        controller:
          asn: 65000
          router_id: 10.0.0.100
          listen: 10.0.0.100
          guard:
            tcp_ao:
              - {send: 2, receive: 3, file: "/ao/{pe}.2"}
              - {send: 1, receive: 1, file: "/ao/{pe}.1", algorithm: hmac-sha-1-96}
        sites: {}
        pes:
          pe-a: {address: 10.0.0.1, guard: {hops: 1}}
          pe-b: {address: 10.0.0.2, guard: {md5: {file: /md5}}}
        """)
    assert found["pe-a"].tcp_ao == (
        AoKey(2, 3, AoAlgorithm.AES_CMAC, Secret(file="/ao/pe-a.2")),
        AoKey(1, 1, AoAlgorithm.HMAC_SHA1, Secret(file="/ao/pe-a.1")),
    )
    assert found["pe-a"].md5 is None
    assert (found["pe-b"].md5, found["pe-b"].tcp_ao) == (Secret(file="/md5"), ())


def test_where_a_secret_is_may_be_told() -> None:
    assert [
        str(each) for each in (Secret(file="/a"), Secret("", "B"), Secret(command=("c", "d")))
    ] == [
        "file /a",
        "environment B",
        "command c",
    ]
