"""Which image means what to the namespace runner: no image is run, its programs are the host's."""

from __future__ import annotations

from vpnctl.lab.topology import Role

#: A node label that says what an image is which is not known here.
ROLE_LABEL = "vpnctl.role"

#: By the last part of an image's name, without its tag.
_ROLES = {
    "frr": Role.FRR,
    "frrouting": Role.FRR,
    "vpnctl": Role.PROGRAM,
    "alpine": Role.PROGRAM,
    "busybox": Role.PROGRAM,
    "debian": Role.PROGRAM,
    "ubuntu": Role.PROGRAM,
    "netshoot": Role.PROGRAM,
    "network-multitool": Role.PROGRAM,
}

LABELLED_ROLES = {"frr": Role.FRR, "program": Role.PROGRAM}

KNOWN_IMAGES = tuple(_ROLES)


def role_of_image(image: str) -> Role:
    """``quay.io/frrouting/frr:8.4.4`` is FRR; what is not known is `Role.FOREIGN`."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return _ROLES.get(name, Role.FOREIGN)
