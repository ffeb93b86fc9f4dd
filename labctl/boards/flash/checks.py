"""What cannot be right is refused before a board is touched."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import RefusedError, Target
from labctl.boards.model import BoardModel


def check(image: Image, model: BoardModel, target: Target, segments: Sequence[Segment]) -> None:
    """Refuse an image that is for another processor or chip, or has nothing to write.

    Args:
        image: What is to be written.
        model: The board's model.
        target: Where it is to be written.
        segments: What of it goes where.

    Raises:
        RefusedError: It is the wrong one; the message says why.
    """
    for word, said, wanted in (
        ("chip", image.chip, model.data["chip"]),
        ("processor", image.architecture, model.data["architecture"]),
    ):
        if said and wanted and said != wanted:
            raise RefusedError(
                f"it is for the {word} {said}, and '{model.name}' has {wanted}",
                thing=str(image.path), action="take the image that was built for this board",
            )  # fmt: skip
    if not any(one.data for one in segments):
        raise RefusedError("there is nothing in it to write", thing=str(image.path))
