"""The drivers of hypervisors.

::

    driver         what a driver can do: start a machine, attach to one, ask it, move it
    plain          the driver for plain QEMU
    command_line   a definition as QEMU's arguments; pure
    abilities      what a QEMU can do
    qemu           a QEMU by its process and its monitor
    process        a process that may outlive us, by its number and birth
    tied           a process that may not
    storage        disks that no machine has open
    taps           interfaces for a machine's nics
"""
