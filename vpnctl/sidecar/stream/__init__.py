"""QEMU's migration stream, without sockets: octets in, events out, and back.

``format``    the numbers and names of the stream
``events``    what a stream is made of: octets that pass as they are, and runs of pages
``parser``    octets, cut anywhere, to events (``preamble``: up to the pages; ``runs``: the pages)
``writer``    events to the octets they came from
``refusals``  what cannot be migrated through a sidecar, told before a guest is touched
"""
