"""Run a command on cards of Slurm: what ``srun`` is told, and that nothing of it stays behind.

Slurm chooses the cards, queues, pins (``CUDA_VISIBLE_DEVICES``) and accounts; labctl only says what
is wished. Partition, account, time and processors are what srun takes from its own variables
(``SLURM_PARTITION``, ``SLURM_ACCOUNT``, ``SLURM_TIMELIMIT``, ``SLURM_CPUS_PER_TASK``, ...). Source:
srun(1), scancel(1), of Slurm 22.05.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labctl.facts.value import Known
from labctl.gpu.choose import Wish
from labctl.gpu.reading import Reading
from labctl.gpu.show import Line

_CANCEL_S = 30.0


@dataclass(frozen=True)
class Order:
    """What is run where.

    Attributes:
        host: The machine of the inventory from which srun is called.
        name: Name of the job, used once, by which it is found again.
        command: The whole command.
    """

    host: str
    name: str
    command: tuple[str, ...]

    @property
    def cancel(self) -> list[str]:
        """The command that takes the job out of Slurm, wherever it stands."""
        return ["scancel", f"--name={self.name}"]


def order(
    lines: Sequence[Line], wish: Wish, command: Sequence[str], *, patience_s: float, named: bool
) -> Order | None:
    """Return what to run for ``wish`` under Slurm; None where no node of it has such cards.

    Args:
        lines: The cards of the machines that are asked.
        wish: What is wanted.
        command: The command.
        patience_s: Seconds that the job may wait in the queue.
        named: The machines were named: only they will do. Else Slurm takes any node.
    """
    fitting = _fitting(lines, wish)
    if not fitting:
        return None
    # One with free cards, if there is one: it is the least likely to be lost meanwhile.
    free = [node for node, some in fitting.items() if sum(_free(one) for one in some) >= wish.count]
    caller = fitting[free[0] if free else next(iter(fitting))][0].reading
    name = f"labctl-gpu-{secrets.token_hex(6)}"
    where = _where(caller, list(fitting)) if named or wish.memory else []
    said = [
        "srun", f"--job-name={name}", "--nodes=1", "--ntasks=1", f"--gres=gpu:{wish.count}",
        f"--immediate={max(1, int(patience_s))}", "--quit-on-interrupt", *where, *command,
    ]  # fmt: skip
    return Order(caller.host, name, tuple(said))


def _fitting(lines: Sequence[Line], wish: Wish) -> dict[str, list[Line]]:
    """Return the nodes with enough cards that are large enough, whoever has them now."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        claim, total = line.verdict.claim, line.unit.memory_total
        large = not wish.memory or (isinstance(total, Known) and total.value >= wish.memory)
        if claim is not None and claim.node and large:
            found.setdefault(claim.node, []).append(line)
    return {node: some for node, some in found.items() if len(some) >= wish.count}


def _free(line: Line) -> bool:
    claim = line.verdict.claim
    return claim is not None and claim.kind == "free"


def _where(caller: Reading, nodes: Sequence[str]) -> list[str]:
    """Return the options that let Slurm choose among ``nodes`` only."""
    if len(nodes) == 1:
        return [f"--nodelist={nodes[0]}"]
    known = caller.slurm.everything if caller.slurm is not None else ()
    others = [node for node in known if node not in nodes]
    return [f"--exclude={','.join(others)}"] if others else []


@contextlib.contextmanager
def cancelled_after(what: Order) -> Iterator[None]:
    """Take the job out of Slurm when the block ends in any other way than by itself."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                what.cancel, timeout=_CANCEL_S, check=False, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        raise
