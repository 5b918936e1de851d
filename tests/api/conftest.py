from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

_CA = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's (127.0.0.1) and a client's certificate: NAME.pem and NAME.key."""
    where = tmp_path_factory.mktemp("certificates")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=where, check=True, capture_output=True)

    openssl(f"req {_CA} -keyout ca.key -out ca.pem -subj /CN=ca -addext keyUsage=keyCertSign")
    for name, use in (("server", "serverAuth"), ("client", "clientAuth")):
        openssl(
            f"req {_CA} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem"
            f" -subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
            f" -addext extendedKeyUsage={use} -addext basicConstraints=critical,CA:FALSE"
        )
    return where
