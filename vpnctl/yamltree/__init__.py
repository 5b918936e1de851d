"""YAML files that operators write, as trees whose nodes know their place, and mistakes in them.

Policies, topologies of labs, definitions of machines: each kind of file has its own reader, and all
of them read from here, so that a tab, an alias or a key that stands twice is told alike everywhere.
"""
