"""The connection between the sidecars of two sites: one ordered stream of octets in each direction
that outlives the TCP connections it goes over.

::

    messages     what the sidecars tell each other: payloads, checks, the return path, the end
    transfer     octets numbered from 0, kept until the peer has them: what a cut cannot lose
    connection   one TCP connection: greeting, segments, acknowledgements; bytes in, events out
    acquaintance whether a peer is the one that a migration goes on with
    records      how that is laid out on the wire, with a check on each record
    bucket       how much may be sent now
    pace         how large segments are, how much may wait, at the speed of the link
    digest       the running digest over a guest's stream that both ends compare
    greeting     what each side says first; address: where it is
    limits       what a migration may take; inbox: messages that wait to be taken
    -- all above is pure: no sockets, no clocks --
    tls          both certificates required, names checked
    stream       a non-blocking socket, plain or TLS, that never holds more than one record
    changes      waiting for something to hold
    speaker      sends what a connection has to say, as link and limit let it
    lifeline     keeps a transfer going over as many connections as it takes
    meeting      who dials and who listens, and gives it connections (met)

The protocol, version 4.  Numbers are big-endian.  A connection begins in each direction with the
eight octets ``vpnside`` and the version; records follow (`records`).  The one who dials greets
first; the other answers with its own greeting or with an abort.  A greeting names the migration,
tells how many octets of the peer's stream have arrived, and, from the side that offers, what the
codec needs to agree on.  Each side goes on with the first octet that the other one has not got;
a segment that begins anywhere else ends the migration.
"""
