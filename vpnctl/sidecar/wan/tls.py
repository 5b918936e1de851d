"""TLS 1.3 with a certificate of both sides, and the peer's name checked."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpnctl.errors import SidecarError, UsageError


@dataclass(frozen=True, slots=True)
class Tls:
    """``certificate``, ``key``: ours; ``ca``: who has signed the peer's; all PEM files.

    ``peer_name``: a DNS name or IP address that the peer's certificate must have among its
    subject alternative names.
    """

    certificate: Path
    key: Path
    ca: Path
    peer_name: str

    def client_context(self) -> ssl.SSLContext:
        """For the side that dials; raises `UsageError` when the files cannot be used."""
        return self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def server_context(self) -> ssl.SSLContext:
        """For the side that listens; raises `UsageError` when the files cannot be used."""
        context = self._loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        # A ticket has the client's certificate in it, and would cost more than it ever saves.
        context.num_tickets = 0
        return context

    def _loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        for what, option, file in (
            ("certificate", "--cert", self.certificate),
            ("key", "--key", self.key),
            ("CA", "--ca", self.ca),
        ):
            try:
                file.open("rb").close()
            except OSError as error:
                raise UsageError(
                    f"the {what} {file} cannot be read: {error.strerror}",
                    hint=f"give another file with {option}; 'vpnctl pki' makes certificates",
                ) from error
        try:
            # A key with a pass phrase is refused: nobody is there to be asked for it.
            context.load_cert_chain(self.certificate, self.key, password=_no_pass_phrase)
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"{self.certificate} and {self.key} cannot be used: {_reason(error)}",
                hint="give a PEM certificate and the key that belongs to it, without pass phrase",
            ) from error
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise UsageError(
                f"{self.ca} holds no CA certificate: {_reason(error)}",
                hint="give the PEM file of the CA with --ca",
            ) from error
        return context


def check_name(certificate: Mapping[str, Any], name: str) -> None:
    """Raise `SidecarError` unless a verified certificate was made for ``name``.

    ``certificate``: as `ssl.SSLSocket.getpeercert` gives it.
    """
    names = [(kind, value) for kind, value in certificate.get("subjectAltName", ())]
    if not any(_same_name(kind, value, name) for kind, value in names):
        told = ", ".join(value for _, value in names) or "nobody"
        raise SidecarError(
            f"the peer's certificate is for {told}, not for {name}",
            hint="name whom you expect with --peer-name, or issue the certificate for that name",
        )


def explain(error: ssl.SSLError, peer: str) -> SidecarError | None:
    """What is wrong for good about a handshake; None when to try again makes sense."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return SidecarError(
            f"the certificate of {peer} is not accepted: {error.verify_message}",
            hint="both sites' certificates must come from the CA that --ca names, and be made for"
            " the name that the other site expects",
        )
    reason = error.reason or ""
    if "ALERT" in reason or reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return SidecarError(
            f"{peer} did not accept the TLS handshake: {_reason(error)}",
            hint="both sites need --cert, --key and --ca, from one CA; see 'vpnctl pki show'",
        )
    if reason in ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "HTTP_REQUEST"):
        return SidecarError(
            f"{peer} does not speak TLS 1.3", hint="use --plain at both ends, or at neither"
        )
    return None


def _same_name(kind: str, value: str, name: str) -> bool:
    if kind == "DNS":
        return value.lower() == name.lower()
    if kind != "IP Address":
        return False
    return _address(value) is not None and _address(value) == _address(name)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _no_pass_phrase() -> str:
    return ""


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
