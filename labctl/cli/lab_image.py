"""``labctl lab image``: the cached images of the virtual lab, for boxes and for boards."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.common import AppContext, json_option
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.vlab.store import Image


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
  labctl lab image build --boards  those of the inventory's virtual boards
  labctl lab image build --force   again, with today's packages
  labctl lab image prune           remove images that nothing uses

Exit codes: 0 done, 1 the build failed, 2 missing programs, 4 machines run on it."""
)
def image() -> None:
    """Build, list and remove the cached images."""


@image.command(
    "build",
    epilog="""\b
Examples:
  labctl lab image build
  labctl lab image build --force
  labctl lab image build --boards

\b
Exit codes: 0 it is there, 1 the build failed, 2 missing programs, 4 machines run on it.""",
)
@click.option("--force", is_flag=True, help="Build anew, with today's packages.")
@click.option("--boards", is_flag=True, help="Those of the inventory's virtual boards instead.")
@json_option
@click.pass_obj
def image_build(app: AppContext, force: bool, boards: bool, as_json: bool) -> int:
    """Build the image of this host's boxes, or of the boards, unless the cache has it."""
    from labctl.report.jsondoc import document
    from labctl.vlab.image import ensure_image

    say = progress_lines(as_json)
    built = _board_images(app, say, force=force) if boards else [ensure_image(say, force=force)]
    if as_json:
        click.echo(document("lab-image", 1, {"images": [_image(one) for one in built]}))
        return int(ExitCode.OK)
    for one in built:
        size = one.size_bytes() >> 20
        say(f"image {one.key}: {one.title}, Linux {one.kernel}, {size} MiB")
    return int(ExitCode.OK)


def _board_images(app: AppContext, say: Callable[[str], None], *, force: bool) -> list[Image]:
    """Return the images of all virtual boards of the inventory; some models need none."""
    from labctl.vlab.board_image import ensure_board_image
    from labctl.vlab.board_model import read_virtual

    inventory = app.load_inventory()
    models = dict.fromkeys(one.model for one in inventory.boards.values() if one.virtual)
    built = [
        ensure_board_image(read_virtual(model, inventory.path), say, force=force)
        for model in models
    ]
    return [one for one in built if one is not None]


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
    from labctl.vlab.store import cached_images

    images = cached_images()
    if as_json:
        click.echo(document("lab-image", 1, {"images": [_image(one) for one in images]}))
        return int(ExitCode.OK)
    rows = [
        (
            one.key,
            one.title,
            one.kernel,
            f"{_built(one):%Y-%m-%d %H:%M}",
            f"{one.size_bytes() >> 20} MiB",
        )
        for one in images
    ]
    Terminal().table(("IMAGE", "FOR", "KERNEL", "BUILT", "SIZE"), rows)
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
@click.pass_obj
def image_prune(app: AppContext, as_json: bool) -> int:
    """Remove images that nothing stands on and that would not be used again."""
    from labctl.report.jsondoc import document
    from labctl.vlab import board_image, image, store

    current = image.current_keys() | board_image.current_keys(_inventory_file(app))
    removed = store.prune(current, progress_lines(as_json))
    if as_json:
        click.echo(document("lab-image-prune", 1, {"removed": removed}))
    return int(ExitCode.OK)


def _inventory_file(app: AppContext) -> Path | None:
    """Return the inventory file, beside which there may be models; None where there is none."""
    from labctl.inventory.loader import find_inventory

    try:
        return find_inventory(app.inventory)
    except UsageError:
        if app.inventory is not None:
            raise
        return None


def _built(one: Image) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(one.built).astimezone()


def _image(one: Image) -> dict[str, object]:
    """Return an image for JSON."""
    return {
        "key": one.key,
        "kind": one.kind,
        "title": one.title,
        "folder": str(one.folder),
        "kernel": one.kernel,
        "built": _built(one).isoformat(timespec="seconds"),
        "seconds": one.seconds,
        "bytes": one.size_bytes(),
    }
