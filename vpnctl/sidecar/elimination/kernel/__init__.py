"""The inner loops over pages: fingerprints, comparison, deltas, the index.

``portable`` defines them in numpy and works everywhere; ``native`` is the same in C, compiled when
vpnctl is installed where there is a C compiler, and used if it is there.
"""

from vpnctl.sidecar.elimination.kernel import portable

try:
    from vpnctl.sidecar.elimination.kernel import native as chosen
except ImportError:
    chosen = portable  # type: ignore[misc]

fingerprints = chosen.fingerprints
equal_rows = chosen.equal_rows
delta_encode = chosen.delta_encode
delta_apply = chosen.delta_apply
index_put = chosen.index_put
index_find = chosen.index_find
#: "native" or "portable".
NAME = chosen.__name__.rsplit(".", 1)[-1]

__all__ = [
    "NAME",
    "delta_apply",
    "delta_encode",
    "equal_rows",
    "fingerprints",
    "index_find",
    "index_put",
]
