"""The agent of a site: its machines, and their way to other sites.

::

    settings     what an agent is started with
    messages     what agents, coordinator and operators say to each other
    agent        what the HTTP face asks for: `Agent`
    site         the machines of this site: started, attached to, found again after a restart
    departing    a machine on its way out, from the request to the commit
    arriving     a machine on its way in
    memory       QEMU's counters and events while memory moves
    disks        its own disks: mirrors at one site, exports at the other
    figures      how far it is, in numbers
    facts        what prechecks want to know of a site and a machine
    sidecars     the data path's processes
    peer         the other site's agent, asked over HTTPS or a unix socket
    app, serving the HTTP face: who may ask what
"""
