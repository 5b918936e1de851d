"""Our own flow routes (RFC 8955) beside those that are reflected, and what PEs' own are worth.

::

    Vpn.access --routes--> FlowRoute --originated--> Path, Move --> tables, delivery

    validation, judging: what a PE's own flow route would be worth, if somebody believed it

What a peer has of them is a function of the ruleset alone, as what it has of other routes is one
of the Loc-RIB and the rules; a change sends the difference of that function before and after.
"""
