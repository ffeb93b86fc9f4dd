"""What an environment needs of a machine."""

from pathlib import Path
from typing import Any

import pytest
from build import parts

from labctl.errors import UsageError
from labctl.health.judge import judge
from labctl.health.needs import needs

NEEDS = """\
glibc: 2.30
gcc: 12.2
ffmpeg: 5
encoders: [libx264, h264_nvenc]
decoders: hevc
driver: 535
"""
FITS: dict[str, Any] = {
    "tools": {"glibc": "2.36", "gcc": "13.1.0", "ffmpeg": "5.1.6",
              "encoders": ["libx264", "h264_nvenc"], "decoders": ["hevc"]},
    "gpu": {"driver": "550.54.15"},
}  # fmt: skip


def found(tmp_path: Path, text: str, tools: dict[str, Any], **gpu: Any) -> list[str]:
    file = tmp_path / "needs.yaml"
    file.write_text(text)
    data = {"tools": {**FITS["tools"], **tools}, "gpu": {**FITS["gpu"], **gpu}}
    return [one.rule for one in judge(parts(data), needs(file)).findings]


@pytest.mark.parametrize(
    ("tools", "gpu", "rules"),
    [
        ({}, {}, []),
        ({"glibc": "2.28"}, {}, ["needs-glibc"]),
        ({"glibc": "2.4"}, {}, ["needs-glibc"]),  # a number, and no decimal fraction
        ({"gcc": {"unknown": "absent"}}, {}, ["needs-gcc"]),
        ({"gcc": {"unknown": "timed_out"}}, {}, []),  # not known is no finding
        ({"encoders": ["libx264"]}, {}, ["needs-encoder-h264_nvenc"]),
        ({"decoders": []}, {}, ["needs-decoder-hevc"]),
        ({}, {"driver": "470.1"}, ["needs-driver"]),
    ],
)
def test_needs(
    tmp_path: Path, tools: dict[str, Any], gpu: dict[str, Any], rules: list[str]
) -> None:
    assert found(tmp_path, NEEDS, tools, **gpu) == rules


@pytest.mark.parametrize(
    "text", ["", "[]", "glibc: new", "colour: red", "encoders: ['a b']", "{", "glibc: 1\n\tx", "\0"]
)
def test_what_is_no_file_of_needs_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"needs\.yaml"):
        found(tmp_path, text, {})
