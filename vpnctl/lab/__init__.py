"""The lab: a containerlab topology, run in plain network namespaces.

::

    file -- reading --> Topology -- plan --> steps -- build --> lab -- teardown --> nothing
                                                        |
                  namespaces, kernel: links    enter: programs at nodes    wan: long links

- *node*: a network namespace, what runs in it, and the files that its programs see;
- *role*: what the runner makes of a node: FRR, a program, a bridge, or nothing (containerlab's);
- *layout*: where a lab keeps what, and what its nodes see of it;
- *record*: what was or will be made, written before it is, so that ``down`` finds it.
"""
