"""The daemon that ties policy, store, routing and BGP sessions together.

- *candidate*: the policy that a request would make the applied one;
- *applied*: the policy in force, whose revision is in the store;
- *delivery*: following what was sent until the peers' sockets took it;
- *view*: what the controller tells, as frozen values of plain types.
"""
