"""The controller over HTTP: one application, one server on a unix socket, one shape of errors.

- `vpnctl.api.service`: what the application needs of a controller, and nothing more.
- `vpnctl.api.app`: the paths, all under ``/v1`` but ``/metrics``.
- `vpnctl.api.answers`, `vpnctl.api.bodies`: what goes out and what comes in.
- `vpnctl.api.errors`: the tree of `vpnctl.errors` as JSON, and back.
- `vpnctl.api.serve`: listens on a unix socket and, when asked, on TCP.
"""
