"""A disk to the other site: QEMU's mirror on one side, QEMU's NBD export on the other.

::

    QEMU -> NBD over a unix socket -> sender == TLS == receiver -> NBD -> QEMU

    nbd          the Network Block Device protocol, as much of it as QEMU needs; octets and values
    blocks       what of a write the other site has already; pure
    cache        the site's cache, which memory uses as well
    frames       what sender and receiver say to each other; pure
    pace         how fast all of a machine's disks may be sent
    outstanding  what was promised to QEMU before the other site had it
    sender       beside the QEMU that mirrors
    receiver     beside the QEMU that exports

A disk is looked at in blocks of 16 KiB, named by 128 bits of BLAKE3.  At the beginning the receiver
says which blocks its old copy has: what is the same there is not sent, and what it has elsewhere
goes as a name, which it checks.  What went for any other disk or memory is in the site's cache,
where both sites have one.  So a machine that comes back moves what changed meanwhile.
"""
