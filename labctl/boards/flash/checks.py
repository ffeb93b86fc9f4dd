"""What cannot be right is refused before a board is touched."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.boards.flash.image import Image, Segment
from labctl.boards.flash.method import RefusedError, Target
from labctl.boards.flash.regions import Region, regions
from labctl.boards.model import BoardModel

_BUILT_FOR = "take the image that was built for this board"
_AS_IT_IS = "with --kind raw its bytes are written unseen"
# What only a boot loader or a Linux can make something of.
_FOR_BOOT_LOADERS = frozenset({"uimage", "fit", "dtb", "linux", "compressed", "disk", "android"})
# Names of one processor: U-Boot's and others', and ours.
_ALIASES = {"ppc": "powerpc", "arm64": "aarch64", "i386": "x86", "riscv": "riscv64"}
# Their flash begins with something else: a second stage of 256 bytes (RP2040), a picture (RP2350).
_OTHER_START = ("rp2",)


def check(image: Image, model: BoardModel, target: Target, segments: Sequence[Segment]) -> None:
    """Refuse an image that is not for this board, or whose program cannot start where it goes.

    What does not fit into a region, or touches what must stay there, is refused by
    `labctl.boards.flash.regions.Region.check`, which a method calls from its ``layout``.

    Args:
        image: What is to be written.
        model: The board's model.
        target: Where it is to be written.
        segments: What of it goes where.

    Raises:
        RefusedError: It is the wrong one; the message says why.
    """
    check_image(image, model, target)
    if not any(one.size for one in segments):
        raise RefusedError(
            "there is nothing in it to write", thing=str(image.path), action="build it again"
        )
    _check_vectors(image, model, segments)


def check_image(
    image: Image, model: BoardModel, target: Target, accepts: frozenset[str] = frozenset()
) -> None:
    """Refuse an image for another processor or chip, or of a kind that cannot be used here.

    Args:
        image: What is to be written.
        model: The board's model.
        target: Where it is to be written.
        accepts: Kinds of image that the method takes; empty for any.

    Raises:
        RefusedError: It is the wrong one; the message says why.
    """
    if accepts and image.kind not in accepts:
        raise RefusedError(
            f"it is '{image.kind}', and '{target.method}' takes {' or '.join(sorted(accepts))}",
            thing=str(image.path), action=f"take one of those; {_AS_IT_IS}",
        )  # fmt: skip
    chip, processor = model.data["chip"], model.data["architecture"]
    if image.chip and chip and not _same_chip(image.chip, chip):
        raise RefusedError(
            f"it is for the chip {image.chip}, and '{model.name}' has {chip}",
            thing=str(image.path), action=_BUILT_FOR,
        )  # fmt: skip
    if image.architecture and processor and not _same_processor(image.architecture, processor):
        raise RefusedError(
            f"it is for the processor {image.architecture}, and '{model.name}' has {processor}",
            thing=str(image.path), action=_BUILT_FOR,
        )  # fmt: skip
    if image.kind in _FOR_BOOT_LOADERS and not (model.data["uboot"] or model.data["linux"]):
        raise RefusedError(
            f"it is '{image.kind}', and '{model.name}' has no boot loader that could use it",
            thing=str(image.path), action=f"{_BUILT_FOR}; {_AS_IT_IS}",
        )  # fmt: skip


def _same_chip(image: str, model: str) -> bool:
    """Tell whether an image for ``image`` can be for ``model``.

    Families are named by the beginning of their chips' names: stm32f4 and stm32f446. For others
    this would be wrong: esp32 is no family of esp32c3.
    """
    family = image.startswith("stm32") or model.startswith("stm32")
    return image == model or (family and (model.startswith(image) or image.startswith(model)))


def _same_processor(image: str, model: str) -> bool:
    if "riscv" in (image, model):  # of any width
        return image.startswith("riscv") and model.startswith("riscv")
    return _ALIASES.get(image, image) == _ALIASES.get(model, model)


def _check_vectors(image: Image, model: BoardModel, segments: Sequence[Segment]) -> None:
    """Refuse a program for an Arm Cortex-M whose vector table cannot be one.

    Source: Armv7-M Architecture Reference Manual, B1.5.3 ("The vector table": the initial stack
    pointer, then the reset vector, whose bit 0 says that it is Thumb code).
    """
    data = model.data
    microcontroller = data["architecture"] == "arm" and not (data["uboot"] or data["linux"])
    if not microcontroller or (data["chip"] or "").startswith(_OTHER_START):
        return
    places = regions(model)
    starts = {one.base for one in places if one.blocks}
    rams = [one for one in places if not one.blocks]
    for one in segments:
        if one.address not in starts or len(one.data) < 8:
            continue
        stack, reset = (int.from_bytes(one.data[at : at + 4], "little") for at in (0, 4))
        thing = str(image.path)
        action = f"is it the program itself, for this chip? {_BUILT_FOR}"
        if rams and (stack % 4 or not any(ram.base < stack <= ram.end for ram in rams)):
            raise RefusedError(
                f"it cannot start: its first word, the stack pointer, is {stack:#010x}, and "
                f"{_describe(rams)}",
                thing=thing, action=action,
            )  # fmt: skip
        inside = any(part.address <= reset - 1 < part.end for part in segments)
        if not reset & 1 or not inside:
            raise RefusedError(
                f"it cannot start: its second word, the reset vector, is {reset:#010x}, which is "
                f"{'not within the image' if reset & 1 else 'even, so no Thumb code'}",
                thing=thing, action=action,
            )  # fmt: skip


def _describe(rams: Sequence[Region]) -> str:
    return ", ".join(f"'{ram.name}' is {ram.base:#x} to {ram.end - 1:#x}" for ram in rams)
