"""One WAN link between two network namespaces: rate, delay, jitter, loss, and a cut.

::

    from vpnctl.lab.wan.figures import WanFigures, parse_loss, parse_rate, parse_time
    from vpnctl.lab.wan.link import LinkEnd, attach, create

    figures = WanFigures(rate=parse_rate("465mbit"), delay=parse_time("13.5ms"))
    link = create(directory, (LinkEnd("vl-pe1", "eth1"), LinkEnd("vl-pe2", "eth1")), figures)
    link = attach(directory)                # any other process, later, as long as it runs
    link.change(replace(figures, loss=0.01))
    link.cut(); link.heal()
    link.status()                           # figures, cut or not, counters of both directions
    link.remove()

- `WanFigures` holds for each direction on its own: ``rate`` in bit/s of Ethernet frames without
  preamble and FCS, as tc counts (``None``: not limited); ``delay`` one way, in seconds;
  ``jitter`` in seconds, evenly spread in ``delay`` +- ``jitter``, frames never overtake each
  other; ``loss`` a fraction, 0 to 1.  It and the ``parse_...`` functions raise `ValueError` with a
  sentence for the operator.
- `create` makes both interfaces, up, in namespaces that exist (names as in ``/run/netns``), with
  ``mtu`` octets and without addresses; the caller gives them addresses, bridges and MACs.
  ``directory`` is the link's own: it must exist and be empty, its path at most 90 octets long;
  the caller removes it after `WanLink.remove` or after deleting the namespaces, which takes
  interfaces and relay along.
- `WanLink.pid` is the relay's process id, ``None`` where the kernel does the work.  The relay sits
  in the namespace of the second end, ends on SIGTERM, and ends by itself when a namespace goes.
- `method` probes which way this kernel has: `Method.NETEM` (veth, netem at both ends) or
  `Method.RELAY` (tap devices, tbf at both ends for the rate, and a process between them).  The
  choice is in `WanStatus.method`.
- A router's buffer is in front of the rate: 50 ms of it, at least ten full frames; what does not
  fit is dropped and counted.
- While a link is cut its interfaces stay up: nothing passes, nobody is told, and what was under
  way is lost.  A cut lasts until `WanLink.heal`.

All but the values raises `vpnctl.errors.LabError` with a hint.  Root is needed.
"""
