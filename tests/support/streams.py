"""Migration streams made by hand, with the shape of QEMU's."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

PAGE = 4096
ZERO, MEM_SIZE, FULL, EOS, CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20
RAM_ID = 2


def magic() -> bytes:
    return b"QEVM" + struct.pack(">I", 3)


def counted(name: bytes) -> bytes:
    return bytes([len(name)]) + name


def machine(name: bytes = b"pc-q35-7.2") -> bytes:
    return b"\x07" + struct.pack(">I", len(name)) + name


def subsection(name: bytes, content: bytes) -> bytes:
    return b"\x05" + counted(name) + struct.pack(">I", 1) + content


def command(number: int, parameters: bytes = b"") -> bytes:
    return b"\x08" + struct.pack(">HH", number, len(parameters)) + parameters


def start(name: bytes = b"ram", version: int = 4, section: int = RAM_ID) -> bytes:
    return b"\x01" + struct.pack(">I", section) + counted(name) + struct.pack(">II", 0, version)


def block_list(blocks: Mapping[bytes, int]) -> bytes:
    entries = [counted(name) + struct.pack(">Q", size) for name, size in blocks.items()]
    return struct.pack(">Q", sum(blocks.values()) | MEM_SIZE) + b"".join(entries)


def end_of_section(section: int = RAM_ID) -> bytes:
    return struct.pack(">Q", EOS) + b"\x7e" + struct.pack(">I", section)


def setup(blocks: Mapping[bytes, int], section: int = RAM_ID) -> bytes:
    return start(section=section) + block_list(blocks) + end_of_section(section)


def part(records: Iterable[bytes], section: int = RAM_ID) -> bytes:
    head = b"\x02" + struct.pack(">I", section)
    return head + b"".join(records) + end_of_section(section)


def last_part(records: Iterable[bytes], section: int = RAM_ID) -> bytes:
    return b"\x03" + part(records, section)[1:]


def page(address: int, content: bytes, block: bytes | None = None) -> bytes:
    """A page; ``content`` of one octet is a filled one.  ``block`` names its block."""
    flags = (FULL if len(content) == PAGE else ZERO) | (0 if block else CONTINUE)
    return struct.pack(">Q", address | flags) + (counted(block) if block else b"") + content


def devices() -> bytes:
    return b"\x04" + struct.pack(">I", 3) + counted(b"cpu") + struct.pack(">II", 0, 12) + b"state"
