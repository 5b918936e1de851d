"""Flow specifications (RFC 8955, for IPv6 RFC 8956): access rules as octets and back.

::

    components   what a packet must be like, field by field
    flows        access rules as components
    nlri         flows as NLRI, and as text
    actions      what becomes of a packet, as extended communities
    precedence   which flow a router looks at first, and whether two overlap

- *component*: a condition on one field of the packet; *flow*: components, all of which must hold.
"""
