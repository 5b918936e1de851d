"""A sidecar as a process: QEMU's unix socket on one side, the WAN on the other.

::

    source        QEMU's stream -> parse, eliminate -> compress -> lifeline;  return path -> QEMU
    destination   lifeline -> decode -> verify -> QEMU;  QEMU's return path -> lifeline
    intake        what QEMU writes, read ahead by a bounded amount
    encoding      the source's work on octets, for threads
    decoding      the destination's
    return_path   what the destination's QEMU says about the guest
    progress      how far a migration is, as a value
    control       a unix socket to ask for progress and to change the bandwidth limit
    metrics       the same for Prometheus, on loopback
    settings      what a sidecar is started with
"""
