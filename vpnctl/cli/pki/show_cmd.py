"""``vpnctl pki show``: certificates, whom they are for and how long they hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpnctl.cli.command import command
from vpnctl.cli.output import Format, Output, print_document, print_table

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "show",
        examples=[
            ("vpnctl pki show pki", "all certificates of an authority's directory"),
            ("vpnctl pki show /etc/vpnctl/cloud1.pem -o json", "one file, for a program"),
        ],
    )
    def show(
        where: Annotated[Path, typer.Argument(help="An authority's directory, or a certificate.")],
        output: Output = Format.TABLE,
    ) -> None:
        """Show certificates: names, issuer, end, fingerprint."""
        from datetime import UTC, datetime

        from vpnctl.pki import store

        files = [where] if where.is_file() else store.certificate_files(where)
        now = datetime.now(UTC)
        certificates = {path: store.load_certificate(path) for path in files}
        authority = certificates.get(store.certificate_file(where, store.AUTHORITY))
        found = [_described(path, one, authority, now) for path, one in certificates.items()]
        if not output.for_people:
            print_document({"certificates": found}, output)
            return
        print_table(
            ("FILE", "NAME", "NAMES", "ISSUER", "UNTIL", "STATE"),
            [
                (
                    one["file"],
                    one["subject"],
                    tuple(one["names"]),
                    one["issuer"],
                    one["until"],
                    one["state"],
                )
                for one in found
            ],
        )
        if output is Format.WIDE:
            for one in found:
                print(f"{one['file']}  SHA-256 {one['fingerprint']}")


def _described(
    path: Path, certificate: x509.Certificate, authority: x509.Certificate | None, now: datetime
) -> dict[str, Any]:
    from vpnctl.pki.authority import fingerprint, is_signed_by, names_of

    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    state = "ended" if end <= now else "not yet valid" if begin > now else "valid"
    if authority is not None and not is_signed_by(certificate, authority):
        state += ", of another authority"
    return {
        "file": str(path),
        "subject": _common_name(certificate.subject),
        "names": list(names_of(certificate)),
        "issuer": _common_name(certificate.issuer),
        "until": f"{end:%Y-%m-%d}",
        "state": state,
        "fingerprint": fingerprint(certificate),
    }


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
