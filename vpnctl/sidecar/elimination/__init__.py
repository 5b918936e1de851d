"""Redundancy elimination: a migration stream made small, and rebuilt to the octet.

::

    events --> delta --> site --> content --> columns --> text --> zstd --> payloads
               page      blocks   blocks of   like        words
               went      on disk  pages that  things      that come
               before    at both  went        beside      again
                         sites    before      each other

`Encoder` and `Decoder` are each other's mirror: both keep the same caches, change them in the same
order, and so a number is enough to say "that block".  Payloads must arrive whole, once, in order,
which is the connection's business (``wan``).

At the source::

    encoder = Encoder(options, site)
    payloads = encoder.encode(parser.feed(octets))   # some may wait inside, to go in one batch
    payloads += encoder.flush()                      # nothing more to read just now: push them out
    payloads += encoder.finish()                     # the stream has ended: push, seal the site's

At the destination::

    decoder = Decoder(options, site)
    octets = decoder.decode(payload)                 # the stream's own, as many as were encoded
    decoder.finish()                                 # the stream has ended: seal the site's

``encode`` is ``[compress(batch) for batch in eliminate(events)]``; the two halves share nothing, so
that one thread may run ``eliminate``/``eliminate_rest`` while another runs ``compress`` (numpy,
zstd and the kernel let go of the interpreter's lock).  The same holds for ``decode``, which is
``rebuild(decompress(payload))``.

Without a stage that looks at pages (`Options.needs_pages`) no parser is needed: feed the stream as
`Opaque` events of any size.

``site`` is a view of the site's cache, for which both sides have named their segments to each
other; `vpnctl.sidecar.elimination.site` says how.

`Pace` says how much of all this a link is worth: tell it what each batch took and what the link
carried, and set ``encoder.effort`` to what it says.

Both sides must hold equal `Options`: the source sends `Options.to_plain`, the destination checks
that `Options.memory` is what it may spend.
"""

from vpnctl.sidecar.elimination.compression import MAX_BATCH, MAX_PAYLOAD
from vpnctl.sidecar.elimination.decoder import Decoder
from vpnctl.sidecar.elimination.encoder import Encoder
from vpnctl.sidecar.elimination.options import Options
from vpnctl.sidecar.elimination.pace import Effort, Pace
from vpnctl.sidecar.elimination.site import SiteCache, SiteView
from vpnctl.sidecar.elimination.statistics import StageCount, Statistics

__all__ = [
    "MAX_BATCH",
    "MAX_PAYLOAD",
    "Decoder",
    "Effort",
    "Encoder",
    "Options",
    "Pace",
    "SiteCache",
    "SiteView",
    "StageCount",
    "Statistics",
]
