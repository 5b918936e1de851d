"""How routers are talked to.

========  ===============================  ============================================
junos     Junos, by PyEZ                   ``netconf:`` and a platform called ``junos-...``
netconf   RFC 6241, by ncclient            ``netconf:`` and any other platform
frr       FRR, by vtysh and frr-reload.py  ``frr:``
========  ===============================  ============================================

Libraries that block run in a thread for each session (`worker.py`); what they raise leaves as one
of the errors that `vpnctl.provisioning.driver` names (`refusals.py`).
"""

from __future__ import annotations

from vpnctl.errors import UsageError
from vpnctl.model import Pe
from vpnctl.provisioning.documents import JUNOS_XML
from vpnctl.provisioning.driver import Driver

_JUNOS = "junos-"


def open_driver(pe: Pe, form: str = "") -> Driver:
    """A session with a router, not connected yet.

    ``form``: the format of its configuration as in `Rendered`, where the platform's name does not
    say it.  Raises `UsageError` where the policy does not say how to reach it.
    """
    # Imported as they are needed: half a second is much for a controller without such a router.
    if pe.netconf is not None and (
        form == JUNOS_XML or (not form and pe.platform.startswith(_JUNOS))
    ):
        from vpnctl.provisioning.drivers.junos import JunosDriver

        return JunosDriver(pe)
    if pe.netconf is not None:
        from vpnctl.provisioning.drivers.netconf import NetconfDriver

        return NetconfDriver(pe)
    if pe.frr is not None:
        from vpnctl.provisioning.drivers.frr import FrrDriver

        return FrrDriver(pe)
    raise UsageError(
        f"{pe.name} cannot be configured: network.yaml does not say how to log in",
        hint=f"add `netconf:` or `frr:` to {pe.name}",
    )
