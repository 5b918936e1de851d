"""What a stream says before its first page, and between sections.

Each function reads one item and raises `StreamRefusedError` when the migration cannot pass.
"""

from __future__ import annotations

from vpnctl.errors import StreamRefusedError
from vpnctl.sidecar.stream.cursor import Cursor
from vpnctl.sidecar.stream.format import COMMANDS_REFUSED, MAGIC, PAGE_SIZE, RAM_VERSION, Command

MACHINES_HINT = "x86 machine types from 2.4 on, with pages of 4 KiB, can pass"

_MAX_NAME = 255
#: QEMU has about 25 capabilities, and few of them are named in a stream.
_MAX_CAPABILITIES = 32
#: No item is longer; the longest is a subsection that names capabilities.
MAX_ITEM = 1 + 1 + _MAX_NAME + 4 + 4 + _MAX_CAPABILITIES * (1 + _MAX_NAME)

#: QEMU names in the stream those capabilities that change it, and this one, which does not.
_HARMLESS_CAPABILITIES = {b"validate-uuid"}


def shown(name: bytes) -> str:
    """A name out of a stream, fit for a message."""
    return repr(name.decode("ascii", "backslashreplace"))


def read_magic(cursor: Cursor) -> None:
    """The header of the file."""
    if cursor.octets(len(MAGIC)) != MAGIC:
        raise StreamRefusedError(
            "this is no migration stream of QEMU",
            hint=f"one begins with the octets {MAGIC.hex(' ')}",
        )


def read_machine(cursor: Cursor) -> None:
    """The name of the machine type."""
    length = cursor.be32()
    if length > _MAX_NAME:
        raise StreamRefusedError(f"a machine type whose name has {length} octets")
    cursor.skip(length)


def read_configuration_subsection(cursor: Cursor) -> None:
    """What else is said of the machine."""
    name = cursor.counted()
    cursor.be32()
    match name:
        case b"configuration/target-page-bits":
            bits = cursor.be32()
            if PAGE_SIZE.bit_length() - 1 != bits:
                raise StreamRefusedError(
                    f"a machine with pages of 2^{bits} octets", hint=MACHINES_HINT
                )
        case b"configuration/uuid":
            cursor.skip(16)
        case b"configuration/capabilities":
            _read_capabilities(cursor)
        case _:
            raise StreamRefusedError(
                f"the unknown subsection {shown(name)} of the machine's configuration",
                hint=MACHINES_HINT,
            )


def _read_capabilities(cursor: Cursor) -> None:
    count = cursor.be32()
    if count > _MAX_CAPABILITIES:
        raise StreamRefusedError(f"a list of {count} capabilities")
    for _ in range(count):
        name = cursor.counted()
        if name not in _HARMLESS_CAPABILITIES:
            raise _refused_capability(name.decode("ascii", "backslashreplace"))


def read_command(cursor: Cursor) -> int:
    """A command between sections; how many octets of parameters follow."""
    command, length = cursor.be16(), cursor.be16()
    if command == Command.POSTCOPY_ADVISE and not length:
        # Bitmaps go after the guest's switch, too; only those of pages come with parameters.
        raise _refused_capability("dirty-bitmaps")
    if command in COMMANDS_REFUSED:
        raise _refused_capability(COMMANDS_REFUSED[Command(command)])
    return length


def _refused_capability(name: str) -> StreamRefusedError:
    return StreamRefusedError(
        f"the migration uses {name}, which cannot pass",
        hint=f"turn {name} off with migrate-set-capabilities and migrate again",
    )


def read_start(cursor: Cursor) -> int:
    """The header of an iterable section, which must be ``ram``; its id."""
    section_id = cursor.be32()
    name = cursor.counted()
    cursor.be32()
    version = cursor.be32()
    if name != b"ram":
        raise StreamRefusedError(
            f"section {shown(name)} is sent beside the RAM and has no known length",
            hint="turn off what sends it (block, dirty-bitmaps), or detach its device (VFIO)",
        )
    if version != RAM_VERSION:
        raise StreamRefusedError(f"version {version} of section 'ram'", hint=MACHINES_HINT)
    return section_id


def read_block(cursor: Cursor) -> tuple[bytes, int]:
    """An entry in the list of RAM blocks: name and octets."""
    name, length = cursor.counted(), cursor.be64()
    if not name or length % PAGE_SIZE:
        raise StreamRefusedError(f"RAM block {shown(name)} of {length} octets", hint=MACHINES_HINT)
    return name, length
