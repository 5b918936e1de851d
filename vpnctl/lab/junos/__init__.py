"""A router that behaves as Junos does when it is configured over NETCONF, for tests and the lab.

It has a real configuration tree of the statements that VPLS and EVPN endpoints need
(`hierarchy.py`), a candidate that is loaded, compared, checked, committed, confirmed and rolled
back, and it refuses what a router refuses.  What it does not have is refused by name.  Its reading
of the rules is its own: it shares nothing with what renders configurations.

::

    server      SSH, faults as they are met            framing
    rpcs        requests and answers                   subtree
    router      candidate, locks, commits, history     faults
    editing     one edit after the other               checks, comparing
    notation_xml, notation_set                         schema, hierarchy

``python -m vpnctl.lab.junos`` runs any number of them in one process.
"""
