"""Pictures of VPNs and route targets: what is drawn, apart from how it is written down.

- `vpnctl.cli.graphs.drawing`: boxes and arrows, made from the controller's answers.
- `vpnctl.cli.graphs.svg`, `mermaid`, `dot`: a drawing as text of that kind.
"""
