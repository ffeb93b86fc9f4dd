"""This machine's cards through NVML, without a connection and what connections are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.facts.gpu import nvml

if TYPE_CHECKING:
    from labctl.gpu.reading import Reading


def look_here(*, deadline: float) -> Reading | None:
    """Return the reading of this machine; None where NVML is not there, or not its bindings.

    Then a vendor's tool is worth a question (`labctl.gpu.look`). Must be called while the process
    has one thread only, as it forks.

    Args:
        deadline: Seconds that the driver, and then the rest, may take.
    """
    pending = nvml.Pending(deadline)
    from labctl.gpu.around import NO_LIBRARY, around  # noqa: PLC0415 - while NVML is being read

    facts = pending.result()
    if facts.failure is not None and facts.failure.reason is NO_LIBRARY:
        return None
    return around(facts)
