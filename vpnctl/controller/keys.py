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
        self._keys: dict[str, tuple[tuple[Secret, ...], tuple[bytes, ...]]] = {}

    async def read(self, network: Network) -> tuple[str, ...]:
        """Read every key; one that cannot be read stays as it was.  The PEs whose key changed."""
        before = self._keys
        named = {pe.name: _secrets(pe) for pe in network.pes.values()}
        wanted = {name: secrets for name, secrets in named.items() if secrets}
        reading = (asyncio.to_thread(_read, secrets) for secrets in wanted.values())
        found = await asyncio.gather(*reading, return_exceptions=True)
        keys: dict[str, tuple[tuple[Secret, ...], tuple[bytes, ...]]] = {}
        unread: dict[str, str] = {}
        for (name, secrets), key in zip(wanted.items(), found, strict=True):
            if isinstance(key, tuple):
                keys[name] = secrets, key
            elif isinstance(key, ControllerError):
                unread[name] = f"{key.message} ({key.hint})"
                former = before.get(name)
                if former is not None and former[0] == secrets:
                    keys[name] = former
            else:
                raise key
        self._keys, self.unread = keys, unread
        return tuple(sorted(name for name, key in keys.items() if before.get(name) != key))

    def has(self, pe: Pe) -> bool:
        """Whether a PE's session can be protected as the policy wants it."""
        return not _secrets(pe) or pe.name in self._keys

    def of(self, pe: Pe) -> tuple[bytes, ...]:
        """The keys of a PE in the policy's order, empty where its session has none."""
        return self._keys[pe.name][1] if _secrets(pe) else ()


def _secrets(pe: Pe) -> tuple[Secret, ...]:
    if pe.guard.md5 is not None:
        return (pe.guard.md5,)
    return tuple(key.secret for key in pe.guard.tcp_ao)


def _read(secrets: tuple[Secret, ...]) -> tuple[bytes, ...]:
    return tuple(map(read_secret, secrets))
