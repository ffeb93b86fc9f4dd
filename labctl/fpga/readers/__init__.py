"""Read what there is to verify from files, without starting a simulator.

A kind of project is a module here; it is found by being here. It has

* ``ORDER``: where two kinds describe the same tests, the one with the lower number counts;
* ``ALONE``: a folder that has such a file is read by no other kind;
* ``claims(folder, names)``: which of the files ``names`` in ``folder`` it may be able to read, at a
  glance;
* ``read_all(root, paths, simulator)``: yields the cores of all those files below ``root``, and
  problems; files that differ by simulator are asked for that one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.fpga.model import Core, Problem

Found = Core | Problem


@dataclass(frozen=True)
class Reader:
    """One kind of project; see the package."""

    kind: str
    order: int
    alone: bool
    claims: Callable[[Path, Collection[str]], list[str]]
    read_all: Callable[[Path, Sequence[Path], str], Iterable[Found]]


def readers() -> list[Reader]:
    """Return all kinds of projects, the one that counts most first."""
    found = []
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        if hasattr(module, "claims"):
            found.append(
                Reader(entry.name, module.ORDER, module.ALONE, module.claims, module.read_all)
            )
    return sorted(found, key=lambda one: one.order)
