"""The keys that sign the PEs' sessions, read from where the policy says they are."""

from __future__ import annotations

import asyncio

from vpnctl.controller.secrets import read_secret
from vpnctl.errors import ControllerError
from vpnctl.model import Network, Pe, Secret


class Keys:
    """The keys of a network's PEs; ``unread``: PE -> why its key could not be read last."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}
        self._keys: dict[str, tuple[Secret, bytes]] = {}

    async def read(self, network: Network) -> tuple[str, ...]:
        """Read every key; one that cannot be read stays as it was.  The PEs whose key changed."""
        before = self._keys
        wanted = {pe.name: pe.guard.md5 for pe in network.pes.values() if pe.guard.md5 is not None}
        reading = (asyncio.to_thread(read_secret, secret) for secret in wanted.values())
        found = await asyncio.gather(*reading, return_exceptions=True)
        keys: dict[str, tuple[Secret, bytes]] = {}
        unread: dict[str, str] = {}
        for (name, secret), key in zip(wanted.items(), found, strict=True):
            if isinstance(key, bytes):
                keys[name] = secret, key
            elif isinstance(key, ControllerError):
                unread[name] = f"{key.message} ({key.hint})"
                former = before.get(name)
                if former is not None and former[0] == secret:
                    keys[name] = former
            else:
                raise key
        self._keys, self.unread = keys, unread
        return tuple(sorted(name for name, key in keys.items() if before.get(name) != key))

    def has(self, pe: Pe) -> bool:
        """Whether a PE's session can be protected as the policy wants it."""
        return pe.guard.md5 is None or pe.name in self._keys

    def of(self, pe: Pe) -> bytes | None:
        """The key of a PE, None where its session has none."""
        return self._keys[pe.name][1] if pe.guard.md5 is not None else None
