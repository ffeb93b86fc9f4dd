"""What the options of ``labctl setup`` mean together."""

import pytest

from labctl.setup.options import Options


def test_as_many_are_connected_to_ahead_as_work_at_once() -> None:
    assert Options(jobs=7).connect_ahead == 7


@pytest.mark.parametrize("option", ["ask_pass", "ask_sudo_pass", "password_stdin"])
def test_nobody_waits_for_a_person_to_type(option: str) -> None:
    assert Options(**{option: True}).connect_ahead == 0  # type: ignore[arg-type]
