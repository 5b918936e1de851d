"""Whole stories on real routers; README.md lists them."""
