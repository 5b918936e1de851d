"""Moves running machines between sites: memory, disk and network, and never two copies running.

::

    definition      what a machine is: YAML to a checked value; pure
    commit          who may run it: two state machines, one per site; pure
    smartstop       when to pause it: from QEMU's counters; pure
    approach        whether that is still far: from how quickly a pass goes; pure
    prechecks       may it move there at all: facts of two sites to remedies; pure
    ledger          what a site has promised, on disk before anything acts on it
    hypervisor/     the drivers: start a machine, attach to one, ask it, move it
    disk/           a disk to the other site, as blocks that are not there yet
    agent/          one process per site, asked over HTTPS or a unix socket
    network         what is asked of the controller of the machines' VPNs
    vpns            extended to where machines go, and their routes told
    coordinator     finds the machine, compares the sites, asks the agents

Words: a *machine* is a guest with its definition; at the site it leaves there is a *departure*, at
the site it comes to an *arrival*; both belong to one *migration* and carry its name.  The *epoch*
counts how often a machine has changed its owner.
"""
