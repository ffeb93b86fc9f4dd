"""Read waves in the format FST, as Icarus Verilog and Verilator write it.

Source: the reader of GTKWave 3.3.118 (``src/helpers/fst/fstapi.c``), and its description in
https://blog.timhutt.co.uk/fst_spec/. Signals are found first; the values of those that are asked
for are read without the others, so that a few signals of a large recording cost little.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.fpga.waves.lz4 import DamagedError, unpack_fastlz, unpack_lz4
from labctl.fpga.waves.model import Signal, Trace

# Kinds of blocks.
_HEADER, _GEOMETRY, _HIERARCHY, _HIERARCHY_LZ4, _HIERARCHY_LZ4_TWICE, _WHOLE = 0, 3, 4, 6, 7, 254
_VALUES, _VALUES_2 = 5, 8
_HEADER_BYTES = 329
# Tags in the hierarchy; below them are kinds of variables.
_ATTRIBUTE, _ATTRIBUTE_END, _SCOPE, _SCOPE_END = 252, 253, 254, 255
_KINDS = (
    "event", "integer", "parameter", "real", "real_parameter", "reg", "supply0", "supply1", "time",
    "tri", "triand", "trior", "trireg", "tri0", "tri1", "wand", "wire", "wor", "port", "sparray",
    "realtime", "string", "bit", "logic", "int", "shortint", "longint", "byte", "enum", "shortreal",
)  # fmt: skip
_DIRECTIONS = {1: "input", 2: "output", 3: "inout"}
_PORT, _MAX_KIND = 18, len(_KINDS) - 1
# What one bit can be besides 0 and 1, by its number.
_STATES = "xzhuwl-?"
# A recording that claims to be larger when unpacked is none that we would draw.
_MAX_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class _Section:
    """Values of all signals for a stretch of time: where its parts are in the file."""

    kind: int
    start: int
    end: int
    place: int
    length: int


class FstFile:
    """A recording.

    Args:
        path: The file.

    Attributes:
        start: Time at which it begins, in its units.
        end: Time at which it ends.
        unit_s: Its unit, seconds.
        signals: All signals, in the order of the design.

    Raises:
        LabctlError: It cannot be read, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._data = path.read_bytes()
            self._read()
        except OSError as error:
            raise LabctlError(error.strerror or str(error), thing=str(path)) from None
        except (DamagedError, IndexError, ValueError, EOFError, zlib.error) as error:
            raise LabctlError(f"no readable recording: {error}", thing=str(path)) from None

    def traces(self, signals: Iterable[Signal], since: int | None = None) -> dict[str, Trace]:
        """Return the values of ``signals``, by name.

        Args:
            signals: Some of this recording.
            since: Only from this time on; the first value may be older. All if not given.

        Raises:
            LabctlError: It is damaged.
        """
        wanted = list(signals)
        try:
            by_handle = self._values({one.handle for one in wanted}, since)
        except (DamagedError, IndexError, ValueError, zlib.error) as error:
            raise LabctlError(f"no readable recording: {error}", thing=str(self.path)) from None
        return {one.name: by_handle[one.handle] for one in wanted}

    # -- the file and its blocks

    def _read(self) -> None:
        blocks = list(self._blocks())
        if blocks and blocks[0][0] == _WHOLE:
            place = blocks[0][1]
            self._data = _bounded_gzip(self._data[place + 8 :])
            blocks = list(self._blocks())
        kinds = {kind: (place, length) for kind, place, length in blocks}
        if _HEADER not in kinds:
            raise DamagedError("it has no header")
        place, _ = kinds[_HEADER]
        self.start, self.end = self._u64(place), self._u64(place + 8)
        self.unit_s = 10.0 ** int.from_bytes(self._data[place + 64 : place + 65], signed=True)
        if _GEOMETRY not in kinds:
            # The writer was killed: what it wrote until then is in other files.
            raise DamagedError("it was not completed")
        self._lengths = self._geometry(*kinds[_GEOMETRY])
        self.signals = tuple(self._hierarchy(kinds))
        self._sections = [
            _Section(kind, self._u64(place), self._u64(place + 8), place - 8, length)
            for kind, place, length in blocks
            if kind in (_VALUES, _VALUES_2)
        ]

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Yield kind, place behind the length, and length (which counts itself) of each block."""
        at = 0
        while at + 9 <= len(self._data):
            length = self._u64(at + 1)
            if length < 8 or at + 1 + length > len(self._data):
                return  # cut off
            yield self._data[at], at + 9, length
            at += 1 + length

    def _u64(self, place: int) -> int:
        if place + 8 > len(self._data):
            raise DamagedError("cut off")
        return int.from_bytes(self._data[place : place + 8], "big")

    def _geometry(self, place: int, length: int) -> list[int]:
        """Return the number of bits of each handle; -1 for a real number, 0 for other text."""
        size, count = self._u64(place), self._u64(place + 8)
        raw = self._data[place + 16 : place + length - 8]
        data = raw if len(raw) == size else _inflate(raw, size)
        found, at = [], 0
        for _ in range(count):
            value, at = _varint(data, at)
            found.append(-1 if value == 0 else 0 if value == 0xFFFFFFFF else value)
        return found

    def _hierarchy(self, kinds: dict[int, tuple[int, int]]) -> Iterator[Signal]:
        data = self._hierarchy_text(kinds)
        at, handle = 0, 0
        scopes: list[str] = []
        while at < len(data):
            tag = data[at]
            at += 1
            if tag == _SCOPE:
                name, at = _text(data, at + 1)
                _, at = _text(data, at)
                scopes.append(name)
            elif tag == _SCOPE_END:
                del scopes[-1:]
            elif tag == _ATTRIBUTE:
                _, at = _text(data, at + 2)
                _, at = _varint(data, at)
            elif tag <= _MAX_KIND:
                direction = _DIRECTIONS.get(data[at], "")
                name, at = _text(data, at + 1)
                bits, at = _varint(data, at)
                alias, at = _varint(data, at)
                handle += alias == 0
                if tag == _PORT:
                    bits = (bits - 2) // 3
                yield self._signal(scopes, name, bits, alias or handle, _KINDS[tag], direction)
            elif tag != _ATTRIBUTE_END:
                raise DamagedError(f"an entry of kind {tag}")

    def _signal(
        self, scopes: list[str], name: str, bits: int, handle: int, kind: str, direction: str
    ) -> Signal:
        if not 0 < handle <= len(self._lengths):
            raise DamagedError("a signal without values")
        short, space, range_ = name.partition(" ")
        whole = ".".join([*scopes, short])
        real = self._lengths[handle - 1] <= 0
        return Signal(
            whole, 0 if real else bits, handle - 1, kind, direction, range_ if space else ""
        )

    def _hierarchy_text(self, kinds: dict[int, tuple[int, int]]) -> bytes:
        if _HIERARCHY in kinds:
            place, length = kinds[_HIERARCHY]
            return _bounded_gzip(self._data[place + 8 : place + length - 8])
        if _HIERARCHY_LZ4 in kinds:
            place, length = kinds[_HIERARCHY_LZ4]
            return unpack_lz4(self._data[place + 8 : place + length - 8], self._size(place))
        if _HIERARCHY_LZ4_TWICE in kinds:
            place, length = kinds[_HIERARCHY_LZ4_TWICE]
            once = unpack_lz4(self._data[place + 16 : place + length - 8], self._size(place + 8))
            return unpack_lz4(once, self._size(place))
        raise DamagedError("it has no signals")

    def _size(self, place: int) -> int:
        size = self._u64(place)
        if size > _MAX_BYTES:
            raise DamagedError("it claims to be very large")
        return size

    # -- values

    def _values(self, handles: set[int], since: int | None) -> dict[int, Trace]:
        found: dict[int, tuple[list[int], list[str]]] = {one: ([], []) for one in handles}
        wanted = [one for one in self._sections if since is None or one.end >= since]
        for section in wanted:
            self._section(section, handles, found)
        return {one: Trace(*_since(times, values, since)) for one, (times, values) in found.items()}

    def _section(
        self,
        section: _Section,
        handles: set[int],
        found: dict[int, tuple[list[int], list[str]]],
    ) -> None:
        data, end = self._data, section.place + section.length
        at = section.place + 32
        size, at = _varint(data, at)
        packed, at = _varint(data, at)
        count, at = _varint(data, at)
        if size > _MAX_BYTES or packed > len(data):
            raise DamagedError("it claims to be very large")
        frame = data[at : at + packed]
        frame = frame if size == packed else _inflate(frame, size)
        at += packed
        _, at = _varint(data, at)
        base = at
        how = data[at]
        times_size, times_packed, times_count = (self._u64(end - 24 + 8 * one) for one in range(3))
        times_place = end - 24 - times_packed
        times = _times(data[times_place : end - 24], times_size, times_count)
        chain_length = self._u64(times_place - 8)
        chain_place = times_place - 8 - chain_length
        chains = _chains(data[chain_place : times_place - 8], section.kind, chain_place - base)
        starts = self._frame_places(count)
        for handle in sorted(handles):
            if handle >= count:
                continue
            bits = self._lengths[handle]
            into = found[handle]
            if bits > 0 and not into[0]:
                place = starts[handle]
                _add(into, section.start, frame[place : place + bits].decode("ascii", "replace"))
            if handle < len(chains) and chains[handle] is not None and bits > 0:
                place, length = chains[handle]  # type: ignore[misc]
                raw = _unpack(data[base + place : base + place + length], how)
                for index, value in _changes(raw, bits):
                    _add(into, times[index], value)

    def _frame_places(self, count: int) -> list[int]:
        places, at = [], 0
        for bits in self._lengths[:count]:
            places.append(at)
            at += 8 if bits < 0 else bits
        return places


def _since(
    times: list[int], values: list[str], since: int | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    first = 0
    if since is not None:
        while first + 1 < len(times) and times[first + 1] <= since:
            first += 1
    return tuple(times[first:]), tuple(values[first:])


def _add(into: tuple[list[int], list[str]], time: int, value: str) -> None:
    times, values = into
    if times and times[-1] == time:
        values[-1] = value  # what it was for no time at all
    elif not values or values[-1] != value:
        times.append(time)
        values.append(value)


def _times(raw: bytes, size: int, count: int) -> list[int]:
    data = raw if len(raw) == size else _inflate(raw, size)
    found, at, now = [], 0, 0
    for _ in range(count):
        step, at = _varint(data, at)
        now += step
        found.append(now)
    return found


def _chains(data: bytes, kind: int, end: int) -> list[tuple[int, int] | None]:
    """Return, for each handle, where its changes are (from the kind of packing) and how long."""
    starts: list[int] = []  # 0: it has none, or those of another
    same: dict[int, int] = {}
    at, place, last = 0, 0, 0
    while at < len(data):
        if kind == _VALUES_2 and data[at] & 1:
            value, at = _signed_varint(data, at)
            value >>= 1
            if value > 0:
                place += value
                starts.append(place)
            else:
                last = value or last
                same[len(starts)] = -last - 1
                starts.append(0)
            continue
        value, at = _varint(data, at)
        if kind == _VALUES and value == 0:
            value, at = _varint(data, at)
            same[len(starts)] = value - 1
            starts.append(0)
        elif kind == _VALUES and value & 1:
            place += value >> 1
            starts.append(place)
        else:
            if value >> 1 > _MAX_BYTES:
                raise DamagedError("it claims to be very large")
            starts += [0] * (value >> 1)
    order = [one for one in starts if one] + [end]
    lengths = {one: after - one for one, after in itertools.pairwise(order)}
    found: list[tuple[int, int] | None] = [(one, lengths[one]) if one else None for one in starts]
    for here, there in same.items():
        found[here] = found[there] if 0 <= there < here else None
    return found


def _unpack(raw: bytes, how: int) -> bytes:
    size, at = _varint(raw, 0)
    packed = raw[at:]
    if size == 0:
        return packed
    if size > _MAX_BYTES:
        raise DamagedError("it claims to be very large")
    if how == ord("4"):
        return unpack_lz4(packed, size)
    if how == ord("F"):
        return unpack_fastlz(packed, size)
    return _inflate(packed, size)


def _changes(data: bytes, bits: int) -> Iterator[tuple[int, str]]:
    """Yield the index of the time and the value of each change."""
    at, index = 0, 0
    if bits == 1:
        while at < len(data):
            word, at = _varint(data, at)
            if word & 1:
                index += word >> 4
                yield index, _STATES[word >> 1 & 7]
            else:
                index += word >> 2
                yield index, "01"[word >> 1 & 1]
        return
    size = (bits + 7) // 8
    while at < len(data):
        word, at = _varint(data, at)
        index += word >> 1
        if word & 1:
            yield index, data[at : at + bits].decode("ascii", "replace")
            at += bits
        else:
            number = int.from_bytes(data[at : at + size], "big") >> size * 8 - bits
            yield index, format(number, f"0{bits}b")
            at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` (seven bits a byte, the lowest first) and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _signed_varint(data: bytes, at: int) -> tuple[int, int]:
    begin = at
    value, at = _varint(data, at)
    if data[at - 1] & 64:
        value -= 1 << 7 * (at - begin)
    return value, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode("utf-8", "replace"), end + 1


def _inflate(raw: bytes, size: int) -> bytes:
    if size > _MAX_BYTES:
        raise DamagedError("it claims to be very large")
    data = zlib.decompressobj().decompress(raw, size + 1)
    if len(data) != size:
        raise DamagedError(f"{len(data)} bytes instead of {size}")
    return data


def _bounded_gzip(raw: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise DamagedError("it is very large")
    return data
