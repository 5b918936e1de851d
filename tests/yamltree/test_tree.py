"""Text that is no tree is refused at its place, and scalars stay what was written."""

# ruff: noqa: E501 - one case, one line

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.yamltree.mistake import Mistake
from vpnctl.yamltree.tree import (
    MAX_FILE_SIZE,
    DocumentError,
    Genre,
    Mapping,
    Scalar,
    find,
)
from vpnctl.yamltree.tree import parse as parse_genre

GENRE = Genre("vpn: E1", "a VPN", "the reference")

ALIAS_BOMB = b"""\
a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
"""


def parse(file: str, content: bytes) -> Mapping:
    return parse_genre(file, content, GENRE)


def complaints(content: bytes) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse("f.yaml", content)
    return [
        f"{mistake.place.line}:{mistake.place.column} {mistake.message}"
        for mistake in caught.value.mistakes
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "1:1 the file is empty"),
        (b"# nothing yet\n---\n", "1:1 the file is empty"),
        (b"[a, b]", "1:1 the file must hold keys and values (`vpn: E1`), not a list"),
        (b"vpn", "1:1 the file must hold keys and values (`vpn: E1`), not bare text"),
        (b"vpn: E1\n\tsites: [a]\n", "2:1 a tab in the indentation"),
        (b"sites:\n  \t- a\n", "2:3 a tab in the indentation"),
        ("vpn: E1\nö: ".encode() + b"\xff\n", "2:4 this is not UTF-8 text (byte 0xff)"),
        ("vpn: E1\n".encode("utf-16"), "1:1 this is not UTF-8 text (byte 0xff)"),
        (b"vpn: E\x001\n", "1:7 character U+0000 may not stand in YAML"),
        (b"x" * (MAX_FILE_SIZE + 1), "1:1 the file has 1048577 bytes; at most 1048576 are read"),
        (ALIAS_BOMB, "1:4 the anchor &a is not supported"),
        (b"vpn: *name\n", "1:6 the alias *name is not supported"),
        (b"a: &a [*a]\n", "1:4 the anchor &a is not supported"),
        (
            b"vpn: !!python/object/apply:os.system [id]\n",
            "1:6 the tag tag:yaml.org,2002:python/object/apply:os.system is not supported",
        ),
        (b"a: " + b"[" * 500_000, "1:27 lists and mappings are nested more than 24 deep"),
        (b"- " * 500_000, "1:49 lists and mappings are nested more than 24 deep"),
        (b"a: " + b"x" * 2049, "1:4 a text of 2049 characters; at most 2048 are read"),
        (b"vpn: E1\n---\nvpn: E2\n", "2:1 a second document begins here"),
        (b"vpn: E1\n...\nvpn: E2\n", "3:1 something follows the end of the document"),
        (b"? [a]\n: b\n", "1:3 a key must be plain text"),
        (b"vpn: E1: x\n", "1:8 a second `key:` on one line, or a line that is indented too far"),
        (b"sites: [a, b\nvpn: E1\n", "2:4 the list that began before this is not closed"),
        (b"sites: {a: b\nvpn: [E1\n", "2:4 the mapping that began before this is not closed"),
        (b"vpn: 'E1\n", "2:1 the file ends within a quoted text"),
        (b"vpn: @E1\n", "1:6 no value can begin with this character"),
        (b"vpn: E1\n  a\n b: c\n", "3:3 a second `key:` on one line, or a line that is indented too far"),
        (b"- a\nb: c\n", "2:1 this line fits neither the line above nor the list around it"),
        (b"vpn: %x\n", "1:6 no value can begin with this character"),
    ],
)  # fmt: skip
def test_what_is_no_tree_is_refused_at_its_place(content: bytes, complaint: str) -> None:
    assert complaints(content) == [complaint]


def test_hints_speak_of_the_kind_of_file() -> None:
    hints = []
    for content in (b"", b"[a]"):
        with pytest.raises(DocumentError) as caught:
            parse("f.yaml", content)
        hints += [mistake.hint for mistake in caught.value.mistakes]
    assert hints == ["write a VPN, or take the file away", "see the reference"]


def test_every_duplicate_key_is_reported_with_its_path() -> None:
    with pytest.raises(DocumentError) as caught:
        parse("f.yaml", b"a: {b: 1, b: 2}\na: 3\nc: 4\n")
    assert [(mistake.place.column, mistake.path) for mistake in caught.value.mistakes] == [
        (11, "a.b"),
        (1, "a"),
    ]


def test_what_editors_and_git_leave_behind_is_named() -> None:
    assert complaints("a:\n\u00a0\u00a0b: 1\nc: \u00a0d\n".encode()) == [
        "2:1 a no-break space in the indentation"
    ]
    conflict = b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n"
    assert complaints(conflict) == ["2:1 a conflict that git left", "6:1 a conflict that git left"]
    assert parse("f.yaml", b"a: x <<<<<<< y\n").raw() == {"a": "x <<<<<<< y"}


def test_every_line_with_a_tab_is_reported() -> None:
    assert complaints(b"a:\n\tb: 1\n\tc: 2\n  # \tfine\n\t# fine, too\n") == [
        "2:1 a tab in the indentation",
        "3:1 a tab in the indentation",
    ]


@pytest.mark.parametrize(
    "written",
    ["65000:100", "12:30", "no", "on", "Off", "1.10", "0x10", "010", "1_000", "2001-01-01", "null",
     "1e3", ".inf", "2001:db8::1"],
)  # fmt: skip
def test_a_scalar_is_the_text_that_was_written(written: str) -> None:
    assert parse("f.yaml", f"a: {written}\nb: [{written}]\n".encode()).raw() == {
        "a": written,
        "b": [written],
    }


def test_only_what_is_left_out_is_nothing() -> None:
    assert parse("f.yaml", b"a:\nb: ~\nc: ''\nd: '~'\n").raw() == {
        "a": None,
        "b": None,
        "c": "",
        "d": "~",
    }


def test_nodes_know_place_path_and_offsets_after_a_byte_order_mark_too() -> None:
    text = "\ufeff# ä\nsites:\n  - hq\n  - {site: 'c 1', vlan: 214}\n"
    root = parse("f.yaml", text.encode())
    node = find(root, ("sites", 1, "vlan"))
    assert isinstance(node, Scalar)
    assert (node.path, str(node.place), node.place.column) == ("sites[1].vlan", "f.yaml:4", 25)
    assert text[node.start : node.end] == "214"
    quoted = find(root, ("sites", 1, "site"))
    assert text[quoted.start : quoted.end] == "'c 1'"


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{},&*!|>'\"#%@ \n\t?", max_size=60))
def test_any_content_is_a_mapping_or_refused_with_a_place(content: bytes | str) -> None:
    octets = content.encode() if isinstance(content, str) else content
    complaints: tuple[Mistake, ...] = ()
    try:
        parse("f.yaml", octets)
    except DocumentError as error:
        complaints = error.mistakes
        refused = True
    else:
        refused = False
    assert bool(complaints) == refused
    assert all(mistake.place.line >= 1 and mistake.hint for mistake in complaints)
