"""A disk to the other site: QEMU's mirror on one side, QEMU's NBD export on the other.

::

    QEMU -> NBD over a unix socket -> sender == TLS == receiver -> NBD -> QEMU

    nbd       the Network Block Device protocol, as much of it as QEMU needs; octets and values
    blocks    what of a write the other site has already; pure
    frames    what sender and receiver say to each other; pure
    sender    beside the QEMU that mirrors
    receiver  beside the QEMU that exports

A disk is looked at in blocks of 64 KiB, named by 128 bits of BLAKE3.  At the beginning the receiver
says which blocks its old copy has: what is the same there is not sent, and what it has elsewhere
goes as a name, which it checks.  So a machine that comes back moves what changed meanwhile.
"""
