"""The other site's agent, asked over HTTPS with both certificates, or a unix socket."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from vpnctl.errors import AgentError, UsageError, VpnctlError
from vpnctl.migration.agent.errors import from_plain
from vpnctl.migration.agent.settings import Certificates
from vpnctl.migration.ledger import Peer
from vpnctl.sidecar.wan.tls import Tls

_CONNECT_S = 5.0
_ANSWER_S = 10.0
#: A watched migration says something much more often.
_SILENCE_S = 15.0
#: Connections stay for longer than between two signs of life: a handshake in mid-commit would be a
#: longer pause.
KEPT_S = 30.0
_LIMITS = httpx.Limits(keepalive_expiry=KEPT_S)
#: Seconds that a QEMU, a sidecar and perhaps a probe of QEMU take to start.
LONG_S = 120.0

_Model = TypeVar("_Model", bound=BaseModel)


class AgentClient:
    """An agent, by its URL: ``https://HOST:PORT`` or ``unix:PATH``.

    Raises `UsageError` for other URLs and for certificates that cannot be used; requests raise
    `AgentError` when nobody answers, and what the agent answered with when it refused.
    """

    def __init__(self, peer: Peer, certificates: Certificates | None) -> None:
        self.peer = peer
        url = urlsplit(peer.url)
        self._extensions: dict[str, Any] = {}
        verify: ssl.SSLContext | bool = False
        uds = None
        if url.scheme == "unix" and url.path:
            uds, base = url.path, "http://agent"
        elif url.scheme == "https" and url.hostname and certificates is not None:
            base, name = peer.url, peer.name or url.hostname
            verify = Tls(
                certificates.certificate, certificates.key, certificates.ca, name
            ).client_context()
            # The name in the certificate, which need not be the one it is reached by.
            self._extensions = {"sni_hostname": name}
        elif url.scheme == "https":
            raise UsageError(
                f"{peer.url}: certificates are missing",
                hint="give --cert, --key and --ca; 'vpnctl pki' makes them",
            )
        else:
            raise UsageError(
                f"{peer.url!r} is no URL of an agent",
                hint="write https://HOST:PORT or unix:/PATH/TO/agent.sock",
            )
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=verify, uds=uds, limits=_LIMITS),
            base_url=base,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
        )

    async def get(self, path: str, model: type[_Model], timeout_s: float = _ANSWER_S) -> _Model:
        """What is at ``/v1/`` and ``path``."""
        return await self._ask("GET", path, model, None, timeout_s)

    async def post(
        self,
        path: str,
        model: type[_Model],
        body: BaseModel | None = None,
        timeout_s: float = _ANSWER_S,
    ) -> _Model:
        """What is answered to ``body``."""
        return await self._ask("POST", path, model, body, timeout_s)

    async def lines(self, path: str, model: type[_Model]) -> AsyncIterator[_Model]:
        """One thing per line, until the agent has told all of them."""
        try:
            async with self._http.stream(
                "GET",
                f"/v1/{path}",
                timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S),
                extensions=dict(self._extensions),
            ) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise self._refusal(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    yield self._understood(model, line)
        except (httpx.HTTPError, OSError) as error:
            raise self._silence(error) from error

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, model: type[_Model], body: BaseModel | None, timeout_s: float
    ) -> _Model:
        try:
            answer = await self._http.request(
                method,
                f"/v1/{path}",
                content=None if body is None else body.model_dump_json(),
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
                extensions=dict(self._extensions),
            )
        except (httpx.HTTPError, OSError) as error:
            raise self._silence(error) from error
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(answer.status_code, answer.content)
        return self._understood(model, answer.content)

    @property
    def _where(self) -> str:
        return f"the agent of {self.peer.site} at {self.peer.url}"

    def _silence(self, error: Exception) -> AgentError:
        return AgentError(
            f"{self._where} does not answer: {str(error) or type(error).__name__}",
            hint="is 'vpnctl agent serve' running there, and is the way to it open?",
        )

    def _refusal(self, status: int, content: bytes) -> VpnctlError:
        return from_plain(content) or AgentError(
            f"{self._where} answered with {status}",
            hint="run the same version of vpnctl at all sites",
        )

    def _understood(self, model: type[_Model], content: bytes | str) -> _Model:
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            raise AgentError(
                f"{self._where} answered what is not understood",
                hint="run the same version of vpnctl at all sites",
            ) from error
