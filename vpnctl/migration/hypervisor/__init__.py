"""The drivers of hypervisors.

::

    driver         what a driver can do: start a machine, attach to one, ask it, move it
    command_line   a definition as QEMU's arguments; pure
    process        a process that may outlive us, by its number and birth
    qemu           the driver for plain QEMU
"""
