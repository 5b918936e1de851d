"""A sidecar as a process: QEMU's unix socket on one side, the WAN on the other.

::

    source        QEMU's stream -> parse, eliminate -> compress -> lifeline;  return path -> QEMU
    destination   lifeline -> decompress, rebuild -> verify -> QEMU;  return path -> lifeline
    settings      what a sidecar is started with
    agreement     what the codecs of the two sides settle when they meet
    pump          the source's steps side by side: `intake` reads, `encoding` works, the WAN sends
    under_way     how much QEMU may count as arrived that is not; pure
    beginning     what is done before anything is known of the link; pure
    steering      how much is done to the stream, in pieces of which size; pure
    decoding      the destination's work on payloads
    outlet        what the destination's QEMU is given
    return_path   what the destination's QEMU says about the guest; pure
    monitor       QEMU's monitor: may the guest move, and how much is left
    progress      how far a migration is, as a value
    control       a unix socket to ask for progress and to change the bandwidth limit
    metrics       the same for Prometheus, on loopback
    qemu, tasks   unix sockets; tasks that live and die together
"""
