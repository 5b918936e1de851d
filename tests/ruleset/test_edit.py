"""A site in or out of an operator's own text, and every other byte as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.errors import NotFoundError, UsageError
from vpnctl.ruleset import extend, retract

EXTENDED = [
    ("vpn: E1\nsites: [a, b]\n", "vpn: E1\nsites: [a, b, c]\n"),
    ("vpn: E1\nsites: [ a ]  # ours\n", "vpn: E1\nsites: [ a, c ]  # ours\n"),
    ("vpn: E1\nsites: ['a', \"b\",]\n", "vpn: E1\nsites: ['a', \"b\", c,]\n"),
    ("{sites: [{site: a, vlan: 4}], vpn: E1}", "{sites: [{site: a, vlan: 4}, c], vpn: E1}"),
    ("vpn: E1\nsites: [a,\n  b]\n", "vpn: E1\nsites: [a,\n  b, c]\n"),
    (
        "vpn: E1\nsites: [\n  a,  # first\n  b   # last\n]\n",
        "vpn: E1\nsites: [\n  a,  # first\n  b,   # last\n  c\n]\n",
    ),
    (
        "vpn: E1\nsites: [\n  a,  # first\n  b,  # last\n]\n",
        "vpn: E1\nsites: [\n  a,  # first\n  b,  # last\n  c,\n]\n",
    ),
    ("vpn: E1\nsites:\n  - a\n", "vpn: E1\nsites:\n  - a\n  - c\n"),
    ("vpn: E1\nsites:\n- a\n- b", "vpn: E1\nsites:\n- a\n- b\n- c"),
    (
        "vpn: E1\nsites:\n  -   a  # one\n  -   site: b\n      vlan: 3  # two\n\n# tail\nx: y\n",
        "vpn: E1\nsites:\n  -   a  # one\n  -   site: b\n      vlan: 3  # two\n  -   c\n\n# tail\n"
        "x: y\n",
    ),
    (
        "vpn: E1\r\nsites:\r\n  - a\r\nservice: vpls\r\n",
        "vpn: E1\r\nsites:\r\n  - a\r\n  - c\r\nservice: vpls\r\n",
    ),
    ("vpn: E1\r\nsites:\r\n- a", "vpn: E1\r\nsites:\r\n- a\r\n- c"),
    ("\ufeffvpn: E1\nsites: [a]\n", "\ufeffvpn: E1\nsites: [a, c]\n"),
    (
        "vpn: E1\nsites:\n  -\n    site: a\n    targets:\n      export: [x,\n       y]\n#\n",
        "vpn: E1\nsites:\n  -\n    site: a\n    targets:\n      export: [x,\n       y]\n  - c\n#\n",
    ),
]


@pytest.mark.parametrize(("before", "after"), EXTENDED)
def test_a_site_is_written_as_its_neighbours_are(before: str, after: str) -> None:
    assert extend(before, "E1", "c") == after


@pytest.mark.parametrize(("before", "after"), EXTENDED)
def test_and_taken_out_again_without_a_trace(before: str, after: str) -> None:
    assert retract(after, "E1", "c") == before


@pytest.mark.parametrize(
    ("before", "site", "after"),
    [
        ("vpn: E1\nsites: [a, b, c]\n", "a", "vpn: E1\nsites: [b, c]\n"),
        ("vpn: E1\nsites: [a, {site: b, vlan: 4}, c]\n", "b", "vpn: E1\nsites: [a, c]\n"),
        (
            "vpn: E1\nsites: [\n  a,  # first\n  b   # last\n]\n",
            "b",
            "vpn: E1\nsites: [\n  a  # first\n]\n",
        ),
        (
            "vpn: E1\nsites:\n  # ours\n  - a  # gone with it\n  - site: b\n    vlan: 3\n  - c\n",
            "b",
            "vpn: E1\nsites:\n  # ours\n  - a  # gone with it\n  - c\n",
        ),
        (
            "vpn: E1\nsites:\n  # ours\n  - a  # gone with it\n  - b\n",
            "a",
            "vpn: E1\nsites:\n  # ours\n  - b\n",
        ),
    ],
)
def test_a_site_is_taken_out_with_what_was_said_of_it(before: str, site: str, after: str) -> None:
    assert retract(before, "E1", site) == after


def test_a_name_that_others_would_misread_is_quoted() -> None:
    assert extend("vpn: E1\nsites: [a]\n", "E1", "no") == 'vpn: E1\nsites: [a, "no"]\n'
    assert extend("vpn: E1\nsites: [a]\n", "E1", "1.10") == 'vpn: E1\nsites: [a, "1.10"]\n'


FULL = """\
vpn: E1
sites: [a, b, c, d]
topology: {hub-and-spoke: {hubs: [a]}}
extranet:
  - {to: d, sites: [b]}
"""
LINKED = "vpn: E1\nsites: [a, b, c]\ntopology: {links: [{from: a, to: b}]}\n"


@pytest.mark.parametrize(
    ("text", "site", "error", "message", "hint"),
    [
        (FULL, "x", NotFoundError, "E1 is not at x", "it is at a, b, c, d"),
        (FULL.replace("E1", "E2"), "a", NotFoundError, "the file is E2's, not E1's", "show vpns"),
        ("sites: [a, b]\n", "a", NotFoundError, "the file is no VPN's, not E1's", "show vpns"),
        ("vpn: E1\nsites: [a]\n", "a", UsageError, "a is the last site of E1", "remove the file"),
        (FULL, "a", UsageError, "a is still a hub of E1 (line 3", "take it out there first"),
        (FULL, "b", UsageError, "b is still part of an extranet of E1 (line 5, extranet[0].sites",
         "take it out there first"),
        (LINKED, "b", UsageError, "b is still part of a link of E1 (line 3, topology.links[0].to",
         "take it out there first"),
        ("vpn: [E1\n", "a", UsageError, "the file of E1 has mistakes", "vpnctl check"),
        ("vpn: E1\nsites: a\n", "a", UsageError, "E1 has no list of sites", "vpnctl check"),
    ],
)  # fmt: skip
def test_what_cannot_be_retracted_is_refused(
    text: str, site: str, error: type[NotFoundError | UsageError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        retract(text, "E1", site)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_the_other_vpn_of_an_extranet_is_no_mention_of_a_site() -> None:
    assert "[a, b, c]" in retract(FULL, "E1", "d")


@pytest.mark.parametrize(
    ("text", "site", "error", "message"),
    [
        (FULL, "d", UsageError, "E1 is at d already (line 2)"),
        (FULL.replace("E1", "E2"), "x", NotFoundError, "the file is E2's, not E1's"),
        (FULL, "x, y]", UsageError, "'x, y]' is no name of a site"),
        (
            "vpn: E1\nsites:\n  - site: a\n    description: |\n      x\n\nservice: vpls\n",
            "b",
            UsageError,
            "the sites of E1 are written in a way that cannot be edited safely",
        ),
    ],
)
def test_what_cannot_be_extended_is_refused(
    text: str, site: str, error: type[NotFoundError | UsageError], message: str
) -> None:
    with pytest.raises(error) as caught:
        extend(text, "E1", site)
    assert caught.value.message == message
    assert caught.value.hint


COMMENTS = st.sampled_from(["", "  # why", " #", "  # [a, - b]: c,"])
ITEMS = st.sampled_from(["a", "'a'", "{site: a, vlan: 3}", '{site: "a",  rd: {p: 10.0.0.1:1}}'])


@st.composite
def texts(draw: st.DrawFn, styles: tuple[str, ...] = ("flow", "lines", "block", "nested")) -> str:
    """A file of E1 in one of the styles in which people write."""
    names = draw(st.lists(st.sampled_from("bdefg"), min_size=0, max_size=3, unique=True))
    items = [draw(ITEMS), *names]
    style = draw(st.sampled_from(styles))
    if style == "flow":
        gap = draw(st.sampled_from(["", " "]))
        comma = draw(st.sampled_from(["", ","]))
        sites = f"sites: [{gap}{', '.join(items)}{comma}{gap}]{draw(COMMENTS)}\n"
    elif style == "lines":
        last = draw(st.sampled_from(["", ","]))
        lines = [
            f"  {item}{last if item is items[-1] else ','}{draw(COMMENTS)}\n" for item in items
        ]
        sites = f"sites: [{draw(COMMENTS)}\n{''.join(lines)}]\n"
    else:
        indentation = draw(st.sampled_from(["", "  ", "    "]))
        bullet = draw(st.sampled_from(["- ", "-   "]))
        lines = [f"{indentation}{bullet}{item}{draw(COMMENTS)}\n" for item in items]
        if style == "nested":
            inner = " " * (len(indentation) + len(bullet))
            lines.append(
                f"{indentation}{bullet}site: z{draw(COMMENTS)}\n{inner}vlan: 7{draw(COMMENTS)}\n"
            )
        sites = f"sites:{draw(COMMENTS)}\n{''.join(lines)}"
    before = draw(st.sampled_from(["", "# E1\n\n", "service: vpls\n"]))
    after = draw(st.sampled_from(["", "# end\n", "\n\ndescription: x\n", "targets: [1:1]"]))
    text = f"{before}vpn: E1\n{sites}{after}"
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@given(texts(), st.sampled_from(["c", "cloud-2", "no", "1.10"]))
def test_extend_then_retract_gives_the_original_text(text: str, site: str) -> None:
    extended = extend(text, "E1", site)
    assert extended != text
    assert retract(extended, "E1", site) == text


@given(texts(styles=("nested",)), st.sampled_from(["a", "z"]))
def test_a_retracted_site_leaves_the_other_lines_alone(text: str, site: str) -> None:
    left = retract(text, "E1", site)
    kept = [line for line in text.splitlines() if "vpn:" in line or "description" in line]
    assert [line for line in left.splitlines() if line in kept] == kept
    with pytest.raises(NotFoundError):
        retract(left, "E1", site)
