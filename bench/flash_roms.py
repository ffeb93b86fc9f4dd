"""STM32 and ESP32 flashed by us and by stm32flash and esptool called directly, on paced lines.

Both talk to the same simulated ROMs over a pseudo-terminal whose bytes take the time that they
take at the rate in use, with the flash as slow as the data sheets say. Measured is the whole
command from its start to its end, a flash that was written and read back: `labctl flash` beside
`stm32flash -w -v` and `esptool write-flash`. The board waits in its loader, as no pseudo-terminal
has signals that could reset it; the owner of the line runs, as it does from the first use on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness import Aim, Contender, Report, Say, argument_parser, interleave, run_bench

from labctl.boards.client import LineClient
from labctl.boards.owner import start
from labctl.boards.owner.place import OwnerConfig, Place
from labctl.errors import DependencyError, LabctlError
from labctl.transport.lines.opening import canonical
from labctl.transport.lines.settings import LineSettings
from labctl.vlab.rom.esp32 import image as esp_image
from labctl.vlab.rom.testing import Running, running

AIMS = {"STM32: ours / stm32flash": Aim(1.05), "ESP32: ours / esptool": Aim(1.05)}
_STM32_BYTES, _ESP_BYTES = 128 << 10, 1 << 20
_STM32_BAUD, _ESP_BAUD = 115200, 460800
_DEADLINE_S = 600.0
_INVENTORY = """\
version: 1
boards:
  stm32:
    model: stm32-nucleo-f446re
    line: {stm32}
    settings:
      flash: [{{method: stm32-uart, region: flash, parity: none}}]
  esp32:
    model: esp32-devkitc
    line: {esp32}
    settings:
      line: {{dtr: null, rts: null}}
      reset: {{signals: null, loader: null}}
      flash: [{{method: esp-rom, region: flash, offset: 0x10000, rates: ["460800"]}}]
"""


def _run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command; return the seconds it took.

    Raises:
        LabctlError: It failed.
    """
    begun = time.monotonic()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    seconds = time.monotonic() - begun
    if done.returncode:
        raise LabctlError(f"{command[0]}: {(done.stderr or done.stdout)[-500:]}")
    return seconds


class Bench:
    """Two boards, and the ways to flash them.

    Args:
        folder: Where images, the inventory and the state of the owners of the lines go.
        stm32: The one.
        esp32: The other.
    """

    def __init__(self, folder: Path, stm32: Running, esp32: Running) -> None:
        self._folder = folder
        self._stm32 = stm32
        self._esp32 = esp32
        self._count = 0
        (folder / "inventory.yaml").write_text(_INVENTORY.format(stm32=stm32.url, esp32=esp32.url))
        self._environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "LABCTL_INVENTORY": str(folder / "inventory.yaml"),
        }

    def _labctl(self, *words: str) -> float:
        inventory = ["--inventory", str(self._folder / "inventory.yaml")]
        return _run([sys.executable, "-m", "labctl", *inventory, *words], self._environment)

    def _image(self, data: bytes) -> str:
        path = self._folder / "image.bin"
        path.write_bytes(data)
        return str(path)

    def _fresh(self) -> random.Random:
        """Return what makes another image each time: nobody may skip it."""
        self._count += 1
        return random.Random(self._count)

    def _stm32_image(self) -> str:
        head = (0x20005000).to_bytes(4, "little") + (0x08000009).to_bytes(4, "little")
        self._wanted = head + self._fresh().randbytes(_STM32_BYTES - 8)
        return self._image(self._wanted)

    def _esp_image(self) -> str:
        # Half of it as dense as code is after compression, half of it empty tables.
        code = self._fresh().randbytes(_ESP_BYTES // 2)
        self._wanted = esp_image([(0x400D0020, code), (0x3F400020, bytes(_ESP_BYTES // 2))])
        return self._image(self._wanted)

    def _check(self, board: Running, offset: int) -> None:
        if board.flash()[offset:][: len(self._wanted)] != self._wanted:
            raise LabctlError("it is not in the flash")

    @contextlib.contextmanager
    def _owned(self, name: str, board: Running) -> Iterator[None]:
        """Have the owner of a line run, as it does in a lab from the first use on.

        It ends afterwards, for it holds the lock that others look at.
        """
        lines = self._folder / "state/labctl/lines"
        lines.mkdir(parents=True, exist_ok=True)
        place = Place(canonical(board.url), lines)
        try:
            LineClient(place, OwnerConfig(name, board.url, LineSettings())).close()
            yield
        finally:
            start.stop(place)

    def stm32(self, by: Callable[[str], float]) -> float:
        """Flash the STM32; return the seconds it took."""
        image = self._stm32_image()
        self._stm32.into_rom()
        seconds = by(image)
        self._check(self._stm32, 0)
        return seconds

    def esp32(self, by: Callable[[str], float]) -> float:
        """Flash the ESP32; return the seconds it took."""
        image = self._esp_image()
        self._esp32.ask("x-pins", io0=False)
        self._esp32.ask("cont")
        self._esp32.ask("system_reset")
        seconds = by(image)
        self._check(self._esp32, 0x10000)
        return seconds

    def ours(self, name: str, image: str) -> float:
        """Flash with labctl."""
        board = {"stm32": self._stm32, "esp32": self._esp32}[name]
        with self._owned(name, board):
            return self._labctl("flash", name, image)

    def stm32flash(self, image: str) -> float:
        """Flash with stm32flash; no pseudo-terminal has parity."""
        return _run(
            ["stm32flash", "-m", "8n1", "-b", str(_STM32_BAUD), "-w", image, "-v", "-g", "0",
             self._stm32.url], self._environment,
        )  # fmt: skip

    def esptool(self, image: str) -> float:
        """Flash with esptool."""
        return _run(
            [sys.executable, "-m", "esptool", "--chip", "auto", "--port", self._esp32.url,
             "--baud", str(_ESP_BAUD), "--before", "no-reset", "--after", "no-reset",
             "write-flash", "0x10000", image], self._environment,
        )  # fmt: skip


@contextlib.contextmanager
def _boards() -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labctl-bench-")))
        stm32 = stack.enter_context(running({"chip": "stm32f446", "line": "pty"}))
        esp32 = stack.enter_context(running({"chip": "esp32", "line": "pty"}))
        yield Bench(folder, stm32, esp32)


def measure(runs: int, say: Say) -> Report:
    """Flash each board ``runs`` times by each contender, in turn.

    Raises:
        LabctlError: Something failed, or a peer is not there.
    """
    if shutil.which("stm32flash") is None:
        raise DependencyError("stm32flash is not installed", action="apt install stm32flash")
    with _boards() as bench:
        say(f"STM32: {_STM32_BYTES >> 10} KiB at {_STM32_BAUD} baud")
        stm32 = interleave(
            [
                Contender("ours", partial(bench.stm32, partial(bench.ours, "stm32"))),
                Contender("stm32flash", partial(bench.stm32, bench.stm32flash)),
            ],
            runs,
            say,
        )
        say(f"ESP32: {_ESP_BYTES >> 10} KiB at {_ESP_BAUD} baud")
        esp32 = interleave(
            [
                Contender("ours", partial(bench.esp32, partial(bench.ours, "esp32"))),
                Contender("esptool", partial(bench.esp32, bench.esptool)),
            ],
            runs,
            say,
        )
    return Report(
        bench="flash_roms",
        unit="seconds",
        ours=stm32["ours"].median,
        peers={
            "stm32flash": stm32["stm32flash"].median,
            "ours, ESP32": esp32["ours"].median,
            "esptool": esp32["esptool"].median,
        },
        ratios={
            "STM32: ours / stm32flash": stm32["ours"].median / stm32["stm32flash"].median,
            "ESP32: ours / esptool": esp32["ours"].median / esp32["esptool"].median,
        },
        aims=AIMS,
        details={
            "stm32": {name: list(times.values) for name, times in stm32.items()},
            "esp32": {name: list(times.values) for name, times in esp32.items()},
        },
    )


def main() -> int:
    """Run it."""
    parser = argument_parser(str(__doc__).partition("\n")[0], runs=3)
    options: argparse.Namespace = parser.parse_args()
    return run_bench(options, partial(measure, options.runs))


if __name__ == "__main__":
    sys.exit(main())
