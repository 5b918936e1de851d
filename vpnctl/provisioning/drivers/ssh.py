"""ncclient's SSH session, with the router's key verified and without its waiting.

ncclient sends from a thread that looks for work every tenth of a second, which every request then
waits for.  Here the one who asks sends; the thread only reads, and is woken by what comes.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
from pathlib import Path
from typing import Any

from ncclient.manager import Manager, make_device_handler
from ncclient.transport.errors import TransportError
from ncclient.transport.session import MSG_DELIM, NetconfBase
from ncclient.transport.ssh import SSHSession
from paramiko import SSHException

from vpnctl.model import Netconf
from vpnctl.provisioning.drivers.login import SHA256, private_key

# What they log, with tracebacks, leaves as errors of ours as well; and configurations are in it.
for _library in ("ncclient", "paramiko"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


#: Octets of the longest answer: a configuration of half a million lines has fewer.
MOST_OCTETS = 64 << 20
#: Octets read at a time; ncclient looks at all that came whenever something comes.
_AT_ONCE = 1 << 18
_DOCTYPE = "<!DOCTYPE"


def fingerprint(key: bytes) -> str:
    """Of a public key in SSH's wire format, as ``ssh-keygen -l`` shows it."""
    return SHA256 + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


class Session(SSHSession):  # type: ignore[misc]  # ncclient has no types
    """``host_key`` as in `vpnctl.model.Netconf`."""

    def __init__(self, handler: Any, host_key: str) -> None:
        super().__init__(handler)
        self._host_key = host_key
        #: Octets that came since we have asked for something.
        self._heard = 0
        #: What the router does that ends the session; libraries do not pass it on.
        self.complaint = ""

    def load_known_hosts(self, filename: str | None = None) -> None:
        """The file that the policy names; where it names a fingerprint, no file counts."""
        if not self._host_key.startswith(SHA256):
            super().load_known_hosts(
                str(Path(self._host_key).expanduser()) if self._host_key else filename
            )

    def is_pinned(self, _host: str, _md5: str) -> bool:
        """Whether the key that no known_hosts file has is the one that the policy names."""
        return self._host_key.startswith(SHA256) and self.remote_fingerprint == self._host_key

    @property
    def remote_fingerprint(self) -> str:
        """Of the key that the router has shown; empty before it has."""
        try:
            return fingerprint(self.transport.get_remote_server_key().asbytes())
        except (AttributeError, SSHException):
            return ""  # no transport, or no key exchanged on it

    def _transport_read(self) -> bytes:
        """From the thread that reads: as much as there is, until it is more than any answer."""
        octets: bytes = self._channel.recv(_AT_ONCE)
        self._heard += len(octets)
        if self._heard > MOST_OCTETS:
            raise self._refused(f"sends more than {MOST_OCTETS >> 20} MiB in answer")
        return octets

    def _dispatch_message(self, raw: str) -> None:
        """A message is parsed after this by ncclient, with all that entities can stand for."""
        if _DOCTYPE in raw:  # RFC 6241 section 3: there are none in NETCONF
            raise self._refused("sends a document type declaration")
        super()._dispatch_message(raw)

    def _refused(self, complaint: str) -> TransportError:
        self.complaint = complaint
        return TransportError(complaint)

    def send(self, message: str) -> None:
        """Send at once, from the thread that asks."""
        self._heard = 0
        if not self.connected:
            super().send(message)  # it says what is wrong
        octets = message.encode()
        if self._base == NetconfBase.BASE_11:
            self._channel.sendall(b"\n#%d\n%b\n##\n" % (len(octets), octets))
        else:
            self._channel.sendall(octets + MSG_DELIM)


class Connection:
    """A session to be made and ended; blocking, but for `abort`, which any thread may call."""

    def __init__(self, router: str, host: str, access: Netconf, device: str) -> None:
        self._router = router
        self._host = host
        self._access = access
        self._handler = make_device_handler({"name": device})
        self._socket: socket.socket | None = None
        self._session: Session | None = None

    def open(self) -> Manager:
        """Raises what sockets, paramiko and ncclient raise, and `ConnectError`."""
        access = self._access
        key = private_key(self._router, access.key)
        self._socket = socket.create_connection((self._host, access.port), access.timeouts.connect)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._session = Session(self._handler, access.host_key)
        self._session.connect(
            self._host,
            access.port,
            timeout=access.timeouts.connect,
            unknown_host_cb=self._session.is_pinned,
            username=access.user,
            key_filename=key,
            allow_agent=not access.key,
            look_for_keys=False,
            sock=self._socket,
        )
        # Of a router that takes nothing any more, sending ends as waiting for its answer does.
        self._session._channel.settimeout(access.timeouts.rpc)
        return Manager(self._session, self._handler, timeout=access.timeouts.rpc)

    @property
    def host_key(self) -> str:
        """Fingerprint of the key that the router has shown; empty where it has shown none."""
        return self._session.remote_fingerprint if self._session is not None else ""

    @property
    def complaint(self) -> str:
        """Why the session was ended from here, if the router has given a reason to."""
        return self._session.complaint if self._session is not None else ""

    def abort(self) -> None:
        """End it without a word; whoever waits for an answer gets an error."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended before

    def close(self) -> None:
        """End what is left of it: socket, threads."""
        self.abort()
        if self._session is not None and self._session.transport is not None:
            self._session.close()
        if self._socket is not None:
            self._socket.close()
