"""Asks the controller over HTTP: by its unix socket, or by TLS when a URL is given.

Built on h11 and a plain socket because each command makes one or two requests, and importing a
larger client takes longer than making them.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import h11

from vpnctl.api.errors import from_json
from vpnctl.cli.settings import Settings
from vpnctl.errors import ControllerError, UsageError

_CONNECT_S = 5.0
_ANSWER_S = 60.0
#: The controller sends a comment at least every 15 s.
_SILENCE_S = 45.0
_CHUNK = 64 * 1024


class Client:
    """The controller's API; every method raises the `vpnctl.errors.VpnctlError` it answers with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        url = urlsplit(settings.url or "http://vpnctl")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise UsageError(
                f"{settings.url!r} is no URL of a controller",
                hint="write https://HOST:PORT with --cert, --key and --ca",
            )
        self._url = url
        self._where = settings.url or f"unix:{settings.socket_to_connect()}"

    def get(self, *path: str, **query: object) -> dict[str, Any]:
        """The answer at ``/v1/`` and ``path``; what is None in ``query`` is left out."""
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        return self._json("GET", _target(path) + (f"?{asked}" if asked else ""), None)

    def post(self, path: str, body: Mapping[str, Any], *, wait_s: float = 0) -> dict[str, Any]:
        """The answer to ``body``, which may take ``wait_s`` seconds longer than others."""
        return self._json("POST", _target((path,)), dict(body), wait_s)

    def events(self, macs: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
        """Events as they happen, until the controller ends; routes of ``macs`` among them."""
        asked = urlencode([("mac", mac) for mac in macs])
        target = "/v1/events" + (f"?{asked}" if asked else "")
        with self._connected(_SILENCE_S) as stream:
            http = h11.Connection(h11.CLIENT)
            _send(http, stream, self._request("GET", target, b"", "text/event-stream"), b"")
            head = self._next(http, stream)
            if not isinstance(head, h11.Response) or head.status_code != 200:
                raise self._strange()
            buffer = b""
            while isinstance(event := self._next(http, stream), h11.Data):
                buffer += event.data
                *blocks, buffer = buffer.split(b"\n\n")
                for block in blocks:
                    if block.startswith(b"data: "):
                        yield json.loads(block.removeprefix(b"data: "))

    def _json(
        self, method: str, target: str, body: dict[str, Any] | None, wait_s: float = 0
    ) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        with self._connected(_ANSWER_S + wait_s) as stream:
            http = h11.Connection(h11.CLIENT)
            _send(http, stream, self._request(method, target, content), content)
            head = self._next(http, stream)
            received = []
            while isinstance(event := self._next(http, stream), h11.Data):
                received.append(bytes(event.data))
        try:
            answer: dict[str, Any] = json.loads(b"".join(received))
        except ValueError:
            raise self._strange() from None
        if not isinstance(head, h11.Response) or head.status_code != 200:
            try:
                error = from_json(answer)
            except (KeyError, TypeError):
                raise self._strange() from None
            raise error
        return answer

    def _request(
        self, method: str, target: str, content: bytes, accept: str = "application/json"
    ) -> h11.Request:
        headers = [("Host", self._url.netloc), ("Accept", accept), ("Connection", "close")]
        if content:
            headers.append(("Content-Type", "application/json"))
            headers.append(("Content-Length", str(len(content))))
        return h11.Request(method=method, target=target, headers=headers)

    @contextlib.contextmanager
    def _connected(self, timeout_s: float) -> Iterator[socket.socket]:
        try:
            stream = self._connect()
        except PermissionError as error:
            raise ControllerError(
                f"you may not talk to the controller at {self._where}",
                hint="run this as the user that runs 'vpnctl serve'",
            ) from error
        except OSError as error:
            raise ControllerError(
                f"no controller answers at {self._where}: {error.strerror or error}",
                hint="start one with 'vpnctl serve', or say where it is with --socket or --url",
            ) from error
        with stream:
            stream.settimeout(timeout_s)
            yield stream

    def _connect(self) -> socket.socket:
        if not self._settings.url:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                stream.settimeout(_CONNECT_S)
                stream.connect(str(self._settings.socket_to_connect()))
            except BaseException:
                stream.close()
                raise
            return stream
        secure = self._url.scheme == "https"
        host = self._url.hostname or ""
        stream = socket.create_connection(
            (host, self._url.port or (443 if secure else 80)), _CONNECT_S
        )
        if not secure:
            return stream
        import ssl

        try:
            ca = self._settings.ca
            context = ssl.create_default_context(cafile=str(ca) if ca else None)
            if self._settings.certificate is not None:
                context.load_cert_chain(self._settings.certificate, self._settings.key)
            return context.wrap_socket(stream, server_hostname=host)
        except BaseException:
            stream.close()
            raise

    def _next(self, http: h11.Connection, stream: socket.socket) -> object:
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(stream.recv(_CHUNK))
        except TimeoutError:
            raise ControllerError(
                f"the controller at {self._where} does not answer",
                hint="see its log; a change may still be under way: 'vpnctl history'",
            ) from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise ControllerError(
                f"the controller at {self._where} went away",
                hint="see its log; after a restart 'vpnctl history' tells what was applied",
            ) from error
        return event

    def _strange(self) -> ControllerError:
        return ControllerError(
            f"what answers at {self._where} is no controller of this version",
            hint="see --socket and --url",
        )


def _target(path: tuple[str, ...]) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in path)


def _send(
    http: h11.Connection, stream: socket.socket, request: h11.Request, content: bytes
) -> None:
    sent = http.send(request) or b""
    if content:
        sent += http.send(h11.Data(data=content)) or b""
    try:
        stream.sendall(sent + (http.send(h11.EndOfMessage()) or b""))
    except OSError:
        # It may have refused before it had read everything: its answer says why.
        pass
