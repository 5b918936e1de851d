"""The one part that is compiled, where there is a compiler; everything else is in setup.cfg."""

from setuptools import Extension, setup

KERNEL = "vpnctl/sidecar/elimination/kernel"

setup(
    ext_modules=[
        Extension(
            f"{KERNEL.replace('/', '.')}._native",
            [f"{KERNEL}/native.c", f"{KERNEL}/text.c"],
            extra_compile_args=["-O3"],
            # Without it the same loops run in numpy.
            optional=True,
        )
    ]
)
