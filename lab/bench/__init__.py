"""Benchmarks of the project; every one of them writes ``results/<name>.json``.

``routes`` is the route server beside BIRD, FRR and GoBGP on the same work; ``engine`` is the
rewrite engine alone, without sockets; ``report`` turns the results into ``RESULTS.md``.
"""
