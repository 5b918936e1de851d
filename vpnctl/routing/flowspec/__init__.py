"""Flow routes (RFC 8955): our own beside those that are reflected, and those of PEs.

::

    Vpn.access --routes--> FlowRoute --originated--> Path, Move --> tables, delivery
    PE's flow, unicast routes, rules --verdict, validation--> who may have it
                                     --taken--> Path, Move --> tables, delivery
    judging: what is told of a PE's flow route to an operator who asks

What a peer has of ours is a function of the ruleset alone, and what it has of those of PEs one of
what they announce and the rules; a change sends the difference of that function before and after.
"""
