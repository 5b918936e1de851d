"""A small certificate authority for the connections between sites.

``authority``  certificates and keys as values, from the `cryptography` library; no files, no clock
``store``      the directory that they are kept in
"""
