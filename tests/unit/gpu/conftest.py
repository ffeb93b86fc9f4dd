"""Recordings of real machines, and the simulated NVML library."""

import os
from pathlib import Path

import pytest

from labctl.errors import DependencyError
from labctl.vlab.nvml.build import build

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return the folder of recordings from real machines, which is not part of the project."""
    folder = Path(os.environ.get("LABCTL_SAMPLES", ROOT.parent / "shared" / "samples"))
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder} ($LABCTL_SAMPLES)")
    return folder


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except DependencyError as error:
        pytest.skip(str(error))
