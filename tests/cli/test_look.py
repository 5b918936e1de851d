"""show, history, diff, explain, watch, status: the same nouns as tables and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_controller import DIFF, FakeController

PEERS = """\
PEER    ADDRESS   AS     SITE    STATE        HEARD  SENT  REFUSED
pe-e1   10.0.0.1  65000  e1-hq   established  2      2     0
pe-c1   10.0.0.2  65000  cloud1  established  2      2     1
pe-c2a  10.0.0.3  65000  cloud2  idle         0      2     0
"""
VPNS = """\
VPN  SERVICE  TOPOLOGY   SITES          EXTRANETS  POLICY
E1   vpls     full-mesh  e1-hq, cloud1  -          policies/e1.yaml:1
E2   evpn     links      e2-hq, cloud1  -          policies/e2.yaml:1
"""
SITES = """\
SITE    KIND        PES             VPNS
e1-hq   enterprise  pe-e1           E1
cloud1  cloud       pe-c1           E1, E2
cloud2  cloud       pe-c2a, pe-c2b  -
"""
TARGETS = """\
TARGET     OWNER     EXPORTED BY  IMPORTED BY  ROUTES  REFUSED
65000:100  E1/e1-hq  pe-e1        pe-e1        2       -
65000:999  -         -            -            1       pe-c1 1
"""
ACCESS = """\
VPN  RULE                PE     FAMILY         FLOW                                                                       ACTIONS  STATUS
E1   policies/e1.yaml:5  pe-e1  ipv4 flow-vpn  flow4/10.0.0.1:100/destination=10.1.0.0/16,protocol=6,destination-port=22  drop     sent
"""  # noqa: E501 - as it is printed
RIB_OUT = """\
FAMILY  NLRI              FROM   HEARD WITH  TARGETS
vpls    10.0.0.1:100:ve1  pe-e1  65000:100   65000:103
"""
REVISIONS = """\
REVISION  AT                        AUTHOR  KIND   STATE    SUMMARY
41        2026-11-22 08:14:02.118Z  ada     apply  applied  E2 added
40        2026-11-22 08:14:02.118Z  ada     start  applied  first policy
"""
STATUS = """\
version     0.1.0
revision    41
policies    policies
peers       3 of 4 established
routes      6
listening   127.0.0.1:1790
sessions    end with the controller
"""
EXPLANATION = """\
heard from pe-e1 with target 65000:100
  65000:100 is the export target of E1 at e1-hq            policies/e1.yaml:3
sent to pe-c2a with target 65000:103 (was 65000:100), revision 41
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("show", "peers"), PEERS),
        (("show", "vpns"), VPNS),
        (("show", "sites"), SITES),
        (("show", "targets"), TARGETS),
        (("show", "access"), ACCESS),
        (("show", "rib-out", "--peer", "pe-c1"), RIB_OUT),
        (("show", "revisions"), REVISIONS),
        (("history",), REVISIONS),
        (("history", "-n", "1"), "".join(REVISIONS.splitlines(keepends=True)[:2])),
        (("status",), STATUS),
        (("explain", "10.0.0.1:100:ve1", "--peer", "pe-c2a"), EXPLANATION),
        (("diff", "40", "41"), DIFF),
    ],
)
def test_tables(vpnctl: Any, words: tuple[str, ...], expected: str) -> None:
    result = vpnctl(*words)
    assert result.exit_code == 0
    assert result.stdout == expected
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("words", "headers"),
    [
        (("show", "peers"), ("SYNCED", "FAMILIES", "BACKLOG", "MALFORMED", "LAST ERROR")),
        (("show", "vpns"), ("RD", "EXPORT", "IMPORT", "VE-ID", "VLAN", "VNI", "HEARS")),
        (("show", "rib-in", "--peer", "pe-e1"), ("NEXT HOP", "AS PATH")),
        (("show", "rib-out", "--peer", "pe-e1"), ("NEXT HOP", "AS PATH")),
    ],
)
def test_wide_tables_show_more(
    vpnctl: Any, words: tuple[str, ...], headers: tuple[str, ...]
) -> None:
    first = vpnctl(*words, "-o", "wide").stdout.splitlines()[0]
    assert all(header in first for header in headers)
    assert not any(header in vpnctl(*words).stdout.splitlines()[0] for header in headers)


@pytest.mark.parametrize(
    ("words", "noun"),
    [
        (("show", "peers"), "peers"),
        (("show", "vpns"), "vpns"),
        (("show", "sites"), "sites"),
        (("show", "targets"), "targets"),
        (("show", "access", "--vpn", "E1"), "access"),
        (("show", "rib-in", "--peer", "pe-c1"), "routes"),
        (("show", "rib-out", "--peer", "pe-c1"), "routes"),
        (("show", "revisions"), "revisions"),
        (("history", "41"), "revision"),
        (("status",), "status"),
        (("explain", "x", "--peer", "pe-c2a"), "explanation"),
        (("diff", "40", "41"), "files"),
    ],
)
def test_json_has_the_schema_and_the_noun(vpnctl: Any, words: tuple[str, ...], noun: str) -> None:
    document = json.loads(vpnctl(*words, "-o", "json").stdout)
    assert list(document)[:2] == ["schema", noun]
    assert document["schema"] == "vpnctl/1"


def test_one_revision_comes_with_its_timeline(vpnctl: Any) -> None:
    lines = vpnctl("history", "41").stdout.splitlines()
    assert lines[1].startswith("41")
    assert lines[3].strip().startswith("policy checked")


def test_rib_filters_are_passed_on(vpnctl: Any, controller: FakeController) -> None:
    words = ("show", "rib-in", "--peer", "pe-e1", "--family", "vpls", "--vpn", "E1")
    result = vpnctl(*words, "--limit", "1")
    assert controller.asked == [("rib-in", "pe-e1", "vpls", "E1", 1)]
    assert "only the first 1 routes are shown" in result.stderr
    assert vpnctl("show", "rib-in", "--peer", "pe-e1", "--family", "ipx").exit_code == 2
    assert vpnctl("show", "rib-in", "--peer", "nobody").exit_code == 4


def test_same_files_are_said_to_be_the_same(vpnctl: Any) -> None:
    result = vpnctl("diff", "41", "41")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "are the same" in result.stderr


def test_watch_writes_json_lines_where_nobody_looks(vpnctl: Any) -> None:
    result = vpnctl("watch")
    lines = result.stdout.splitlines()
    assert [json.loads(line)["event"]["subject"] for line in lines] == ["pe-c2a", "42"]
    assert {json.loads(line)["schema"] for line in lines} == {"vpnctl/1"}
    assert result.exit_code == 6
    assert result.stderr.startswith("error: the controller ended")


def test_watch_writes_lines_on_a_terminal(vpnctl: Any, terminal: Any) -> None:
    terminal()
    assert vpnctl("watch", env={"NO_COLOR": "1"}).stdout.splitlines() == [
        "08:14:02.118  session   pe-c2a        established",
        "08:14:02.118  revision  42            E1 extended to cloud2",
    ]
    assert len(vpnctl("watch", "-o", "json").stdout.splitlines()) == 2
