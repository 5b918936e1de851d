"""The directory of an authority: ``ca.pem``, ``ca.key``, and ``NAME.pem``, ``NAME.key`` of each
machine.  Keys are for their owner's eyes alone, and nothing is ever written over."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vpnctl.errors import UsageError
from vpnctl.pki.authority import Pair

AUTHORITY = "ca"


def certificate_file(directory: Path, name: str) -> Path:
    """Where the certificate of ``name`` is."""
    return directory / f"{name}.pem"


def key_file(directory: Path, name: str) -> Path:
    """Where the key of ``name`` is."""
    return directory / f"{name}.key"


def make_directory(directory: Path) -> None:
    """Make ``directory`` for its owner alone, unless it is there; `UsageError` if it cannot be."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the directory {directory} cannot be made: {error.strerror}",
            hint="choose another directory",
        ) from error


def save(directory: Path, name: str, pair: Pair) -> tuple[Path, Path]:
    """Write a pair; its certificate and its key.

    Raises `UsageError` when either is there already, or cannot be written; nothing is left then.
    """
    certificate, key = certificate_file(directory, name), key_file(directory, name)
    there = [str(path) for path in (certificate, key) if path.exists() or path.is_symlink()]
    if there:
        raise UsageError(
            f"{', '.join(there)} exists already, nothing was written",
            hint="choose another name, or move the old files away first",
        )
    with ExitStack() as undo:
        _write(key, pair.key_pem, 0o600, undo)
        _write(certificate, pair.certificate_pem, 0o644, undo)
        undo.pop_all()
    return certificate, key


def load(directory: Path, name: str) -> Pair:
    """A pair that `save` wrote; raises `UsageError` when it cannot be used."""
    path = key_file(directory, name)
    certificate = load_certificate(certificate_file(directory, name))
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path} holds no key that can be read: {error}",
            hint="give the directory of 'pki init'",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != (
        certificate.public_key()
    ):
        raise UsageError(
            f"{path} is not the key of {certificate_file(directory, name)}",
            hint="give the directory that 'vpnctl pki init' made, as it was",
        )
    return Pair(certificate, key)


def load_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; raises `UsageError` when there is none."""
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise UsageError(
            f"{path} holds no certificate", hint="give a PEM file that 'vpnctl pki' made"
        ) from error


def certificate_files(directory: Path) -> list[Path]:
    """All certificates in a directory, the authority's first."""
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is no directory", hint="make an authority with 'vpnctl pki init'"
        )
    found = sorted(directory.glob("*.pem"))
    return sorted(found, key=lambda path: path.stem != AUTHORITY)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}",
            hint="make an authority with 'vpnctl pki init DIR', or give its directory with --dir",
        ) from error


def _write(path: Path, octets: bytes, mode: int, undo: ExitStack) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        undo.callback(path.unlink, missing_ok=True)
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="choose another directory"
        ) from error
