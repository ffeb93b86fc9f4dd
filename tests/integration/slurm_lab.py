"""A real Slurm for tests: the fixture `slurm` in conftest.py gives one for a module."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labctl.vlab.slurm.cluster import Cluster, Node, running


@contextlib.contextmanager
def small_cluster(*nodes: Node) -> Iterator[Cluster]:
    """Give a cluster of ``nodes``, in a folder that jobs of other users may enter."""
    with tempfile.TemporaryDirectory(prefix="labctl-slurm-") as name:
        Path(name).chmod(0o755)
        with running(Path(name), nodes) as cluster:
            yield cluster
