"""What is told while cards are waited for."""

import pytest

from labctl.cli.gpu_waiting import NONE_FREE, Waiting


def test_what_is_waited_for_is_told_when_it_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = [[], [], ["box: no answer"], ["box: no answer"], []]
    monkeypatch.setattr("labctl.cli.gpu_waiting.hindrances", lambda readings: seen.pop(0))
    waiting = Waiting()
    for _ in range(5):
        waiting.tell([])
    line = f"labctl: waiting: {NONE_FREE}\n"
    assert capsys.readouterr().err == line + line + "labctl: box: no answer\n" + line
