"""The agent of a site: its machines, and their way to other sites.

::

    settings     what an agent is started with
    messages     what agents, coordinator and operators say to each other
    agent        what the HTTP face asks for: `Agent`
    site         the machines of this site: started, attached to, found again after a restart
    departing    a machine on its way out, from the request to the commit
    arriving     a machine on its way in
    counterpart  the other site's half, as the owner talks to it
    half         what both have of the commit protocol
    alive        something long, given up when anything that it needs fails
    together     machines that go on at the same moment
    memory       QEMU's counters and events while memory moves
    disks        its own disks, and exports of those that come
    mirrors      its own disks on their way out
    bandwidth    one limit for memory and disks
    replicating  disks on their way ahead of their machine
    replica      where they come to
    history      migrations that have ended
    figures      how far it is, in numbers
    facts        what prechecks want to know of a site and a machine
    sidecars     the data path's processes
    peer         the other site's agent, asked over HTTPS or a unix socket
    app, serving the HTTP face: who may ask what
"""
