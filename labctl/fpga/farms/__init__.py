"""Where groups of runs go that are not run here: other people's schedulers, none of our own.

A farm is given a folder that all its machines see, with a file for each group of runs. It starts
*elements*, which are `labctl.fpga.farms.element` on some machine; the results come back through the
folder. `collect` reads them, and has the groups of lost machines run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.fpga.farms.base import FarmMaker

NAMES = ("slurm", "dask")


def farm_named(name: str, *, jobs: int | None, address: str = "") -> FarmMaker | None:
    """Return what makes a farm of the kind ``name``; None where runs are run here.

    Args:
        name: ``slurm`` or ``dask``.
        jobs: At most so many runs at a time; None for as many as the farm allows.
        address: Of Dask's scheduler; a cluster on this machine if not given.
    """
    if name == "slurm":
        from labctl.fpga.farms.slurm import SlurmFarm  # noqa: PLC0415

        return lambda folder: SlurmFarm(folder, jobs)
    if name == "dask":
        from labctl.fpga.farms.dask import DaskFarm  # noqa: PLC0415

        return lambda folder: DaskFarm(folder, jobs, address)
    return None
