"""Blocks that a site keeps on disk, for all VMs and disks that move to or from it, for days.

A cache is a directory of *segments*.  A segment is a file of blocks in the order in which they
went in one migration; both ends write the same one, and it is named by the BLAKE3 digest of its
blocks.
So there is no state to keep in step: at the start of a migration each end names the segments it
has, and the ones that both have are what may be referred to.  That list, in a fixed order, is the
migration's *epoch*; its number goes with every batch.

Segments are never changed.  Any of them may be lost at any time, at one end or both: the next
migration does without.  Two migrations at once, three sites, or a guest that comes back later need
nothing special.  A peer cannot plant anything in another's name, as a name is a digest.

    cache = SiteCache(directory, limit)
    offer = cache.offer(options.block_size)       # offer.names to the peer, the peer's names back
    with offer.agree(names) as view:              # SidecarProtocolError if they are no names
        Encoder(options, view) or Decoder(options, view)

A cache holds what was in the memory of guests: the directory is its owner's alone.
"""

from vpnctl.sidecar.elimination.site.cache import Offer, SiteCache
from vpnctl.sidecar.elimination.site.view import SiteView

__all__ = ["Offer", "SiteCache", "SiteView"]
