"""Certificates for tests of mutual TLS, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_NEW = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"


def make_certificates(where: Path) -> Path:
    """A CA with a server's (127.0.0.1) and a client's certificate: NAME.pem and NAME.key."""

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=where, check=True, capture_output=True)

    openssl(f"req {_NEW} -keyout ca.key -out ca.pem -subj /CN=ca -addext keyUsage=keyCertSign")
    for name, use in (("server", "serverAuth"), ("client", "clientAuth")):
        openssl(
            f"req {_NEW} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem"
            f" -subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
            f" -addext extendedKeyUsage={use} -addext basicConstraints=critical,CA:FALSE"
        )
    return where
