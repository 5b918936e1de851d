"""What both ends remember, in step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination.batch import U8, U64, What
from vpnctl.sidecar.elimination.options import Options
from vpnctl.sidecar.elimination.references import BlockNumbers, References
from vpnctl.sidecar.elimination.site import SiteView


class Sent(NamedTuple):
    """How pages went.

    ``whole``: which pages did not go as a delta, shape ``(pages,)``; ``what``: `What` of each block
    of those; ``literals``: the blocks that went as they are, shape ``(n, block size)``.
    """

    whole: NDArray[np.bool_]
    what: U8
    literals: U8


class Memory:
    """The caches of one end of one migration; after each batch the other end's are equal.

    ``references`` and ``site`` are ``None`` where no stage that is on looks at them.
    Raises `ValueError` unless ``site`` is there exactly when its stage is on.
    """

    def __init__(self, options: Options, site: SiteView | None) -> None:
        if options.site != (site is not None):
            raise ValueError("a view of the site's cache belongs to the stage `site`")
        if site is not None and site.block_size != options.block_size:
            raise ValueError(f"a view in blocks of {site.block_size}, not {options.block_size}")
        self.site = site
        self.numbers = BlockNumbers()
        remembers = options.delta or options.content
        self.references = References(options.cache_size) if remembers else None

    def versions(self, keys: U64) -> NDArray[np.int64]:
        """The row in ``references`` of the last version of each page, or -1."""
        if self.references is None:
            return np.full(len(keys), -1, np.int64)
        return self.references.find(keys)

    def remember(
        self, keys: U64, versions: NDArray[np.int64], contents: U8, sent: Sent
    ) -> NDArray[np.int64]:
        """One batch has gone: pages ``contents`` at ``keys``; ``versions``: what `versions` said.

        Returns the row in ``references`` of each page, or -1.
        """
        if self.site is not None:
            self.site.store(self._lasting(versions, sent))
        if self.references is None:
            return versions
        return self.references.remember(keys, versions, contents)

    def _lasting(self, versions: NDArray[np.int64], sent: Sent) -> U8:
        """The literal blocks of pages that went for the first time.

        What a guest changes while it moves is hardly met again in another guest or on another day.
        """
        first = versions[sent.whole] < 0
        if first.all():
            return sent.literals
        blocks = np.repeat(first, len(sent.what) // len(first))
        lasting: U8 = sent.literals[blocks[sent.what == What.LITERAL]]
        return lasting
