"""BGP sessions: ExaBGP in a process of its own, and the controller's end of the channel to it.

- `wire`: what is said between the two processes, as frames and frozen values.
- `messages`: BGP messages as octets: header, split, KEEPALIVE, NOTIFICATION (RFC 4271 section 4).
- `outbox`: what is still to be written to one peer.
- `session`: one established session: read, write, timers, back-pressure.
- `protection`: MD5 keys and TTLs of TCP sockets.
- `channel`: frames over a non-blocking socket.
- `exabgp_session`: the session process; the only module that imports ExaBGP.
- `speaker`: the controller's side, on asyncio.

Routes pass through as raw octets both ways; nothing here decodes one.
"""
