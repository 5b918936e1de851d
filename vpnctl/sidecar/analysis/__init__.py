"""What each way of making guests' memory and disks small would save, found on files.

``source``      captured migration streams and raw disk images as events
``schemes``     octets under each scheme
``redundancy``  blocks that are there more than once, within a file and across files
``deltas``      how much of a page changes between two times that it is sent
``chunks``      the same redundancy with cuts that the content decides
``parts``       what can be asked
``sampling``    few fingerprints instead of all, for large files
``report``      all of it for some files
``plots``       pictures of a report (needs the extra ``plots``)

`report.analyze` is where to start.
"""
