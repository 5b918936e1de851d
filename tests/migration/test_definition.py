"""A machine's definition: what may be written, and how mistakes are told."""

from __future__ import annotations

import pytest

from vpnctl.errors import DefinitionError
from vpnctl.migration.definition import DEFINITION, Definition
from vpnctl.migration.yamlfile import read_yaml
from vpnctl.yamltree.mistake import Mistake

WHOLE = b"""\
machine: web1
app: shop
memory: 512M
accelerator: tcg
boot: {kernel: vmlinuz, initrd: web1.cpio, append: "console=ttyS0"}
disks:
  - {file: web1.qcow2}
  - {file: data.img, format: raw, shared: true}
nics:
  - {bridge: br-e1, mac: "52:54:00:00:00:0A"}
"""


def read(text: bytes) -> Definition:
    return read_yaml("web1.yaml", text, Definition, DEFINITION)


def told(text: bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(DefinitionError) as error:
        read(text)
    found = error.value.mistakes
    assert all(isinstance(one, Mistake) for one in found)
    return [(one.place.line, one.path, one.message) for one in found]  # type: ignore[attr-defined]


def test_a_whole_definition() -> None:
    machine = read(WHOLE)
    assert machine.memory == 512 * 1024
    assert [disk.shared for disk in machine.disks] == [False, True]
    assert machine.nics[0].mac == "52:54:00:00:00:0a"


def test_what_travels_between_agents_is_the_same_machine() -> None:
    machine = read(WHOLE)
    assert Definition.model_validate_json(machine.model_dump_json()) == machine


def test_all_mistakes_at_once_each_at_its_place() -> None:
    assert told(
        b"machine: web 1\nmemory: 512\ncpus: 0\ncolour: red\n"
        b"disks:\n  - {file: ../etc/passwd}\n  - {file: a.img, format: vdi}\n"
    ) == [
        (1, "machine", "1 to 32 letters, digits, hyphens and underlines, e.g. web1"),
        (2, "memory", "a size is expected, e.g. 512M, 4G or 262136K"),
        (3, "cpus", "this should be greater than or equal to 1"),
        (4, "colour", "there is no such key"),
        (6, "disks[0].file", "a plain file name without directories is expected, e.g. web1.qcow2"),
        (7, "disks[1].format", "this should be 'raw' or 'qcow2'"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the file is empty"),
        (b"- a", "the file must hold keys and values (`machine: web1`), not a list"),
        (b"machine: [", "a bracket is not closed"),
        (b"\xff", "this is not UTF-8 text (byte 0xff)"),
        (b"a" * 2_000_000, "at most 1048576 are read"),
        (b"machine: a\nmemory: 1G\nmemory: 2G", "the key 'memory' stands here twice"),
        (b"machine: &a a\nmemory: *a", "the anchor &a is not supported"),
        (b"machine: 2001-02-30\nmemory: 1G", "a value is none: day is out of range"),
        (b"machine: =\nmemory: 1G", "a value is none: could not determine a constructor"),
        (b"machine: a\nmemory: 1G", "nothing to boot from"),
        (b"machine: a\nmemory: 1 G\ndisks: [{file: a}]", "a size is expected"),
        (b"machine: a\nmemory: 1G\ndisks: [{file: a}, {file: a}]", "the same file"),
        (b'machine: a\nmemory: 1G\nnics: [{bridge: b, mac: "33:33:00:00:00:01"}]', "a group's"),
        (b'machine: a\nmemory: 1G\nnics: [{bridge: "b,x", mac: 1}]', "match pattern"),
        (b'machine: a\nmemory: 1G\nnics: [{mac: "52:54:00:00:00:01"}]', "give bridge:, or vpn:"),
    ],
)
def test_what_makes_no_sense_is_told(text: bytes, message: str) -> None:
    assert any(message in told_message for _, _, told_message in told(text))
