"""pytest-embedded on a line: its fixture ``dut`` in a test, run by its own environment's pytest.

``BENCH_TASK`` is a JSON object that says what to measure; the answer goes to descriptor
``BENCH_ANSWER``. pytest-embedded has no notion of a command: it writes, and expects.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_PROMPT = "box:~# "


def test_measure(dut: Any) -> None:
    """Do the task."""
    task = json.loads(os.environ["BENCH_TASK"])
    numbers = {"commands": commands, "drain": drain}[task["kind"]](dut, task)
    Path(os.environ["BENCH_ANSWER"]).write_text(json.dumps(numbers))


def commands(dut: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Time one command again and again: its output ends with a word, as users write it."""
    dut.write("\n")
    dut.expect_exact(_PROMPT, timeout=10)
    seconds = []
    for number in range(int(task["count"])):
        began = time.monotonic()
        dut.write(f"{task['command']}; echo 'e''nd{number}' $?\n")
        dut.expect(rf"end{number} (\d+)\r\n", timeout=10)
        seconds.append(time.monotonic() - began)
    return {"seconds": seconds}


def drain(dut: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Read what comes for so many seconds."""
    began = time.monotonic()
    count = 0
    while count < int(task["count"]) and time.monotonic() - began < task["seconds"]:
        try:
            count += len(dut.expect(".+", timeout=1).group())
        except Exception:  # nothing came
            continue
    return {"bytes": count, "seconds": time.monotonic() - began}
