"""Numbers of QEMU's migration stream (``migration/savevm.c``, ``migration/ram.c``).

Every number on the wire is big-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

#: The first eight octets: "QEVM" and the version of the file format.
MAGIC = b"QEVM\x00\x00\x00\x03"

#: Octets of a page record's header: address and `RamFlag` in one number.
HEADER_SIZE = 8
#: Low bits of a record's header that hold flags.
FLAG_MASK = 0xFFF
#: Octets of a page of the x86 target, the only one that is understood.  Targets with other pages
#: (Arm has 4 to 64 KiB) say so in the machine's configuration, and are refused.
PAGE_SIZE = 4096


class Section(IntEnum):
    """What the first octet of a section says (``QEMU_VM_*``)."""

    EOF = 0x00
    START = 0x01
    PART = 0x02
    END = 0x03
    FULL = 0x04
    SUBSECTION = 0x05
    VMDESCRIPTION = 0x06
    CONFIGURATION = 0x07
    COMMAND = 0x08
    FOOTER = 0x7E


class Command(IntEnum):
    """Commands between sections (``enum qemu_vm_cmd``)."""

    OPEN_RETURN_PATH = 1
    PING = 2
    POSTCOPY_ADVISE = 3
    POSTCOPY_LISTEN = 4
    POSTCOPY_RUN = 5
    POSTCOPY_RAM_DISCARD = 6
    PACKAGED = 7
    ENABLE_COLO = 8
    POSTCOPY_RESUME = 9
    RECV_BITMAP = 10
    SWITCHOVER_START = 11


class RamFlag(IntFlag):
    """Low bits of a record's header in a ``ram`` section (``RAM_SAVE_FLAG_*``)."""

    ZERO = 0x02
    MEM_SIZE = 0x04
    PAGE = 0x08
    EOS = 0x10
    CONTINUE = 0x20
    XBZRLE = 0x40
    HOOK = 0x80
    COMPRESS_PAGE = 0x100
    MULTIFD_FLUSH = 0x200


#: Version of the ``ram`` section.
RAM_VERSION = 4

#: Commands of a migration that cannot pass, and the capability that brings each about.
COMMANDS_REFUSED = {
    Command.POSTCOPY_ADVISE: "postcopy-ram",
    Command.POSTCOPY_LISTEN: "postcopy-ram",
    Command.POSTCOPY_RUN: "postcopy-ram",
    Command.POSTCOPY_RAM_DISCARD: "postcopy-ram",
    Command.PACKAGED: "postcopy-ram",
    Command.ENABLE_COLO: "x-colo",
    Command.POSTCOPY_RESUME: "postcopy-ram",
    Command.RECV_BITMAP: "postcopy-ram",
}

#: Flags of records that cannot pass, and what brings each about.
RAM_FLAGS_REFUSED = {
    RamFlag.XBZRLE: "xbzrle",
    RamFlag.HOOK: "rdma",
    RamFlag.COMPRESS_PAGE: "compress",
    RamFlag.MULTIFD_FLUSH: "multifd",
}
