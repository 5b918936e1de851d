"""BGP sessions: ExaBGP in a process of its own, and the controller's end of the channel to it.

- `wire`: what is said between the two processes, as frames and frozen values.
- `messages`: BGP messages as octets: header, split, KEEPALIVE, NOTIFICATION (RFC 4271 section 4).
- `outbox`: what is still to be written to one peer.
- `session`: one established session: read, write, timers, back-pressure.
- `hard_reset`: which ends of a session leave the peer's routes (RFC 8538).
- `pacing`: the share of the controller's time that each peer's UPDATEs have.
- `protection`: keys and TTLs of TCP sockets; `tcp_ao`: those of TCP-AO.
- `channel`: frames over a non-blocking socket.
- `record`: what sessions have said and were told, for the next controller.
- `door`, `controllers`: where controllers attach, and the one that is there.
- `listeners`: the addresses where peers connect.
- `loop`: the session process's event loop.
- `exabgp_session`: the session process; the modules `exabgp_*` alone import ExaBGP.
- `process`: the session process from outside: started or found, and ended.
- `speaker`: the controller's side, on asyncio; `events`: what it says there.

Routes pass through as raw octets both ways; nothing here decodes one.
"""
