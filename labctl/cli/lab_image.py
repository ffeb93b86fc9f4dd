"""``labctl lab image``: the cached Debian images of the virtual lab."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from labctl.cli.common import json_option
from labctl.errors import ExitCode

if TYPE_CHECKING:
    from labctl.vlab.image import Image


def progress_lines(as_json: bool) -> Callable[[str], None]:
    """Return where progress lines go: to stderr with ``--json``, as stdout is one document."""
    from labctl.report.sanitize import clean
    from labctl.report.terminal import Terminal

    terminal = Terminal(sys.stderr if as_json else sys.stdout)
    return lambda line: terminal.line(clean(line))


@click.group(
    epilog="""\b
Examples:
  labctl lab image build           make the image ready before the first 'lab up'
  labctl lab image build --force   again, with today's packages
  labctl lab image prune           remove images that nothing uses

Exit codes: 0 done, 1 the build failed, 2 missing programs, 4 machines run on it."""
)
def image() -> None:
    """Build, list and remove the cached Debian images."""


@image.command(
    "build",
    epilog="""\b
Examples:
  labctl lab image build
  labctl lab image build --force

\b
Exit codes: 0 it is there, 1 the build failed, 2 missing programs, 4 machines run on it.""",
)
@click.option("--force", is_flag=True, help="Build anew, with today's packages.")
@json_option
def image_build(force: bool, as_json: bool) -> int:
    """Build the image of this host, unless the cache has it."""
    from labctl.report.jsondoc import document
    from labctl.vlab.image import ensure_image

    say = progress_lines(as_json)
    built = ensure_image(say, force=force)
    if as_json:
        click.echo(document("lab-image", 1, {"images": [_image(built)]}))
    else:
        say(f"image {built.key}: Linux {built.kernel}, {built.size_bytes() >> 20} MiB")
    return int(ExitCode.OK)


@image.command(
    "list",
    epilog="""\b
Examples:
  labctl lab image list

\b
Exit code: 0.""",
)
@json_option
def image_list(as_json: bool) -> int:
    """List the cached images."""
    from labctl.report.jsondoc import document
    from labctl.report.terminal import Terminal
    from labctl.vlab.image import cached_images

    images = cached_images()
    if as_json:
        click.echo(document("lab-image", 1, {"images": [_image(one) for one in images]}))
        return int(ExitCode.OK)
    rows = [
        (
            one.key,
            one.kernel,
            f"{_built(one):%Y-%m-%d %H:%M}",
            f"{one.size_bytes() >> 20} MiB",
        )
        for one in images
    ]
    Terminal().table(("IMAGE", "KERNEL", "BUILT", "SIZE"), rows)
    return int(ExitCode.OK)


@image.command(
    "prune",
    epilog="""\b
Examples:
  labctl lab image prune

\b
Exit code: 0.""",
)
@json_option
def image_prune(as_json: bool) -> int:
    """Remove images that no machine stands on and this host would not use again."""
    from labctl.report.jsondoc import document
    from labctl.vlab.image import prune

    removed = prune(progress_lines(as_json))
    if as_json:
        click.echo(document("lab-image-prune", 1, {"removed": removed}))
    return int(ExitCode.OK)


def _built(one: Image) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(one.built).astimezone()


def _image(one: Image) -> dict[str, object]:
    """Return an image for JSON."""
    return {
        "key": one.key,
        "folder": str(one.folder),
        "kernel": one.kernel,
        "built": _built(one).isoformat(timespec="seconds"),
        "seconds": one.seconds,
        "bytes": one.size_bytes(),
    }
