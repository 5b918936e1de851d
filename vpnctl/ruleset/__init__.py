"""From the operator's files to a checked `Ruleset`: text in, values out, no I/O.

::

    bytes -- document --> tree -- reading --> model -- draft --> VPN without allocated numbers
          -- loading (claims, allocation, connectivity) --> Ruleset

- *Mistake*: something wrong, with its place and what to do about it;
- *claim*: a number that a file gives explicitly;
- *need*: a number that a file leaves out, to be allocated from a *pool*;
- *draft*: a VPN's file checked against the network, numbers still missing.

`state` is what a load leaves for the next one, `joined` checks VPNs that speak of each other, and
`resolving` makes a VPN of its draft.
"""

from vpnctl.ruleset.adopted import Adopted, adopt
from vpnctl.ruleset.edit import extend, retract
from vpnctl.ruleset.loading import Compiled, load, policy_error
from vpnctl.ruleset.reference import policy_reference
from vpnctl.ruleset.schema import SCHEMAS, json_schema
from vpnctl.ruleset.starter import starter_files
from vpnctl.yamltree.mistake import Mistake

__all__ = [
    "SCHEMAS",
    "Adopted",
    "Compiled",
    "Mistake",
    "adopt",
    "extend",
    "json_schema",
    "load",
    "policy_error",
    "policy_reference",
    "retract",
    "starter_files",
]
