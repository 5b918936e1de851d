"""The inner loops: over pages fingerprints, comparison, deltas, the index; over text its spelling.

``portable`` and ``text_portable`` define them in numpy and Python and work everywhere.  ``native``
and ``text_native`` are the same in C, compiled when vpnctl is installed where there is a C
compiler, and used if they are there.
"""

from vpnctl.sidecar.elimination.kernel import portable, text_portable

try:
    from vpnctl.sidecar.elimination.kernel import native as chosen
    from vpnctl.sidecar.elimination.kernel import text_native as text
except (ImportError, AttributeError):
    # It was not compiled, or by an older version, which knows less.
    chosen = portable  # type: ignore[misc]
    text = text_portable  # type: ignore[misc]

fingerprints = chosen.fingerprints
equal_rows = chosen.equal_rows
delta_encode = chosen.delta_encode
delta_apply = chosen.delta_apply
index_put = chosen.index_put
index_find = chosen.index_find
find_text = text.find_text
spell = text.spell
unspell = text.unspell
#: "native" or "portable".
NAME = chosen.__name__.rsplit(".", 1)[-1]

__all__ = [
    "NAME",
    "delta_apply",
    "delta_encode",
    "equal_rows",
    "find_text",
    "fingerprints",
    "index_find",
    "index_put",
    "spell",
    "unspell",
]
