"""The Network Manager: endpoints on the routers themselves, on all of them or on none.

::

    Ruleset --> RouterIntent --> Rendered --> transaction --> Driver --> router
    (model)     intent.py        rendering    transaction     drivers/
                                 .py          .py, journal.py

A *router intent* is everything that vpnctl owns on one router; *rendered* is that in the router's
own language, together with the paths of the nodes it owns; a *driver* is one session with one
router; the *transaction* leads several of them through lock, load, check, commit and confirm so
that in the end all have the change or none has, and names the router where that is in doubt.

This package knows `vpnctl.model` and `vpnctl.errors`; the controller joins it to the store and to
the routes.
"""
