"""The data path of a live migration: one process per site between QEMU and the WAN.

::

    source QEMU -> unix socket -> sidecar == one TLS connection ==> sidecar -> unix socket -> QEMU

``stream``       QEMU's migration stream: octets to events and back, byte for byte
``elimination``  what makes events small: delta, content-based redundancy, compression
``wan``          the connection between two sidecars
``run``          a sidecar as a process
``analysis``     what each way of making it small would save, on files

QEMU is not changed, and nothing here knows of BGP.
"""
