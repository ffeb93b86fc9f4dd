"""Shell scripts for a board: POSIX, and no option that busybox lacks.

Each runs in a subshell, so nothing of it stays in the shell that it is typed into, and Ctrl-C ends
all of it.

Sources: POSIX.1-2017, dd (without ``bs=`` what comes is gathered into blocks of ``obs``; ``seek``
counts those), sh; GNU coreutils and busybox, dd (``conv=fsync``); blockdev(8); proc(5)
(``/proc/sys/vm/drop_caches``, mountinfo); Linux's Documentation/ABI/testing/sysfs-block and
sysfs-class-net (``addr_assign_type``: 0 is the card's own).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_BLOCK = 1 << 20
_SECTOR = 512
_TOOLS = ("sha256sum", "md5sum", "cksum", "curl", "wget", "base64", "gzip", "blockdev")
# Where a board may keep a few bytes: memory first.
_SCRATCH = ("/dev/shm", "/run", "/tmp")  # noqa: S108 - names of the board's folders


@dataclass(frozen=True)
class Place:
    """Bytes on a device.

    Attributes:
        begin: First byte.
        size: Bytes.
    """

    begin: int
    size: int

    @property
    def block(self) -> int:
        """The largest block, at most 1 MiB, that counts both; of the beginning if none does."""
        both = _power_of_two(self.begin | self.size)
        return both if both >= _SECTOR else _power_of_two(self.begin)

    @property
    def read(self) -> str:
        """``bs skip count`` of dd."""
        block = self.block
        return f"{block} {self.begin // block} {-(-self.size // block)}"

    @property
    def cut(self) -> int:
        """Bytes to keep of what dd reads so; 0 for all."""
        return self.size if self.size % self.block else 0

    @property
    def write(self) -> str:
        """``obs seek`` of dd."""
        block = _power_of_two(self.begin)
        return f"{block} {self.begin // block}"


def _power_of_two(number: int) -> int:
    return min(number & -number or _BLOCK, _BLOCK)


def _sub(*lines: str) -> str:
    return "(\n" + "\n".join(("LC_ALL=C; export LC_ALL", *lines)) + "\n)"


def tools() -> str:
    """Return a script that prints ``tool NAME`` for what there is, and ``scratch FOLDER``."""
    return _sub(
        f"for t in {' '.join(_TOOLS)}; do",
        'command -v $t >/dev/null && echo "tool $t"; done',
        f"for d in {' '.join(_SCRATCH)}; do [ -w $d ] || continue; f=$d/.labctl-try.$$",
        # Not ":", a special built-in: its error ends more than its own subshell in busybox.
        '{ echo >"$f"; } 2>/dev/null || continue',
        'dd if=/dev/null of="$f" conv=notrunc,fsync 2>/dev/null && echo "tool fsync"',
        'rm -f "$f"; echo "scratch $d"; break; done; :',
    )


def look(device: str, *, root: str = "") -> str:
    """Return a script that prints what is known of ``device``, one fact a line.

    ``real``, ``block``, ``size`` (sectors of 512 bytes), ``ro``, ``whole``, ``part NAME
    MAJOR:MINOR HOLDERS``, ``mount`` with a line of mountinfo, ``swap`` with one of ``/proc/swaps``,
    ``other`` with the names of block devices that there are.

    Args:
        device: Its path.
        root: Put before ``/proc`` and ``/sys``.
    """
    return _sub(
        f"R={shlex.quote(root)}; D=$(readlink -f {shlex.quote(device)}) || D=",
        'n=${D##*/}; s=$R/sys/class/block/$n; echo "real $D"; [ -b "$D" ] && echo block',
        'if [ -n "$n" ] && [ -r "$s/size" ]; then',
        'echo "size $(cat "$s/size")"; echo "ro $(cat "$s/ro")"',
        '[ -e "$s/partition" ] || echo whole',
        'for p in "$s" "$s"/*; do [ -r "$p/dev" ] || continue',
        'case $p in "$s"|"$s/$n"*) ;; *) continue;; esac',
        'echo "part ${p##*/} $(cat "$p/dev") $(echo $(ls "$p/holders" 2>/dev/null))"; done',
        # Somebody may use the whole disk that this is a partition of.
        'if [ -e "$s/partition" ]; then p=$(readlink -f "$s"); p=${p%/*}',
        'echo "part ${p##*/} $(cat "$p/dev") $(echo $(ls "$p/holders" 2>/dev/null))"; fi; fi',
        'for m in self 1; do [ -r "$R/proc/$m/mountinfo" ] &&',
        'sed "s/^/mount /" "$R/proc/$m/mountinfo"; done',
        '[ -r "$R/proc/swaps" ] && sed "1d;s/^/swap /" "$R/proc/swaps"',
        'echo "other $(echo $(ls "$R/sys/class/block" 2>/dev/null))"',
    )


def identify(*, root: str = "") -> str:
    """Return a script that prints who the board is, ``NAME VALUE`` a line; ``root`` as in `look`.

    Cards whose address was not given to them by their maker, or by who knew the board, are left
    out: their address is another one after each boot.
    """
    return _sub(
        f"R={shlex.quote(root)}; T=$R/proc/device-tree",
        'for f in model serial-number; do [ -r "$T/$f" ] &&',
        'echo "$f $(tr -d \'\\000\\n\' <"$T/$f")"; done',
        '[ -r "$R/sys/class/dmi/id/product_name" ] &&',
        'echo "product $(cat "$R/sys/class/dmi/id/product_name")"',
        '[ -r "$R/etc/machine-id" ] && echo "machine-id $(cat "$R/etc/machine-id")"',
        'for c in "$R"/sys/class/net/*; do [ -e "$c/device" ] || continue',
        '[ "$(cat "$c/addr_assign_type")" = 0 ] && echo "mac $(cat "$c/address")"; done',
        'echo "machine $(uname -m)"; echo "linux $(uname -r)"',
    )


def addresses() -> str:
    """Return a script that prints the board's network addresses, by whatever tells them."""
    return _sub("ip -o -4 addr show 2>/dev/null || ifconfig 2>/dev/null; :")


def digests(device: str, algorithm: str, places: Sequence[Place], digits: int) -> str:
    """Return a script that prints a digest of each of ``places``, a line each, in their order.

    Args:
        device: Where they are.
        algorithm: ``sha256``, ``md5`` or ``cksum``.
        places: What to read; neighbours of one size, as most are, take one line of the script.
        digits: So many characters of each digest are printed.
    """
    tool = "cksum|cut -d' ' -f1" if algorithm == "cksum" else f"{algorithm}sum|cut -c1-{digits}"
    lines = [
        f"D={shlex.quote(device)}",
        f'g(){{ dd if="$D" bs=$1 skip=$2 count=$3 2>/dev/null|{tool}; }}',
        f'h(){{ dd if="$D" bs=$1 skip=$2 count=$3 2>/dev/null|head -c $4|{tool}; }}',
        # As many neighbours as $4 says.
        "r(){ a=$2; k=$4; while [ $k -gt 0 ]; do",
        "g $1 $a $3; a=$((a+$3)); k=$((k-1)); done; }",
    ]
    for first, count in _alike(places):
        if first.cut:
            lines.append(f"h {first.read} {first.cut}")
        else:
            lines.append(f"r {first.read} {count}" if count > 1 else f"g {first.read}")
    return _sub(*lines)


def _alike(places: Iterable[Place]) -> Iterable[tuple[Place, int]]:
    """Yield the first of each run of neighbours of one size, and how many they are."""
    run: list[Place] = []
    for one in places:
        if run and (
            one.cut
            or run[0].cut
            or one.begin != run[-1].begin + run[-1].size
            or one.size != run[0].size
        ):
            yield run[0], len(run)
            run = []
        run.append(one)
    if run:
        yield run[0], len(run)


def _writer(device: str, *, fsync: bool, ibs: str = "4096") -> str:
    conv = "notrunc,fsync" if fsync else "notrunc"
    return f"dd of={shlex.quote(device)} ibs={ibs} obs=$1 seek=$2 conv={conv}"


def zeros(device: str, places: Sequence[Place], *, fsync: bool) -> str:
    """Return a script that fills ``places`` with zeros; their sizes are multiples of 512.

    Not by discarding: what a discarded block reads as is not said for all devices.
    """
    return _sub(
        f"w(){{ {_writer(device, fsync=fsync, ibs='$4')} count=$3 </dev/zero 2>&1; }}",
        'z(){ e=$(w "$@") || { echo "$e"; exit 1; }; }',
        *(f"z {one.write} {one.size // _unit(one)} {_unit(one)}" for one in places),
        *([] if fsync else ["sync"]),
    )


def _unit(place: Place) -> int:
    """Return the largest block, at most 1 MiB, that counts ``place``."""
    return _power_of_two(place.size)


def fetches(
    device: str, url: str, items: Sequence[tuple[Place, str]], *, tool: str, fsync: bool
) -> str:
    """Return a script that writes to ``items`` what their names below ``url`` bring.

    Args:
        device: Where to.
        url: Of a folder.
        items: Places and names.
        tool: ``wget`` or ``curl``.
        fsync: dd can wait until the device has it.
    """
    return _sub(
        f"U={shlex.quote(url)}",
        fetcher(tool, 30),
        f"w(){{ {_writer(device, fsync=fsync)} 2>&1; }}",
        # A program's failure must not be written to the device: it goes another way.
        'f(){ e=$( { { get "$U/$3" || echo "nothing came for $3" >&3; } |',
        '{ m=$(w "$1" "$2") || echo "$m" >&3; }; } 3>&1 )',
        '[ -z "$e" ] || { echo "$e"; exit 1; }; }',
        *(f"f {place.write} {name}" for place, name in items),
        *([] if fsync else ["sync"]),
    )


def fetcher(tool: str, patience_s: int) -> str:
    """Return the definition of ``get URL``, which prints what is there."""
    if tool == "curl":
        return f'get(){{ curl -sf --connect-timeout {patience_s} -y {patience_s} "$1"; }}'
    # No -T: busybox's wget, as Debian 12 builds it without libraries for arm64, crashes of it.
    return 'get(){ wget -q -O - "$1" 2>/dev/null; }'


def fetch(url: str, *, tool: str) -> str:
    """Return a script that prints what ``url`` brings."""
    return _sub(fetcher(tool, 5), f"get {shlex.quote(url)}")


def take(device: str, place: Place, *, fsync: bool, source: str = "") -> str:
    """Return a script that writes what its standard input, or the file ``source``, brings."""
    after = "" if fsync else " && sync"
    feed = f"<{shlex.quote(source)} " if source else ""
    return f"set -- {place.write}; {feed}{_writer(device, fsync=fsync)} 2>&1{after}"


def typed(file: str, unpack: str, *, base64: bool, tool: str) -> str:
    """Return a script that puts into ``file`` what is typed to it, and prints its digest.

    It reads lines of base64, or of octal numbers as printf takes them, up to one that is a dot. It
    answers each with a dot.

    Args:
        file: The file.
        unpack: Program that what was typed goes through.
        base64: The lines are base64; octal numbers otherwise.
        tool: Program that prints the digest of its standard input.
    """
    name = shlex.quote(file)
    put, decode = ("echo", "base64 -d") if base64 else ("printf", "cat")
    return _sub(
        # Output that comes as it is printed goes to the terminal itself; input does not come from
        # there. Nothing is asked for where it is none: what is typed would be taken for commands.
        "umask 077; T=/proc/$$/fd/1; stty -echo <$T || exit 1",
        "trap 'stty echo <$T' 0; trap 'exit 1' 2; echo .",
        f'while IFS= read -r l && [ "$l" != . ]; do {put} "$l" >&4; echo .; done <$T 4>{name}.in',
        f"{decode} <{name}.in|{unpack} >{name}; rm -f {name}.in; {tool} <{name}",
    )


def forget_cache(device: str) -> str:
    """Return a script after which reading ``device`` reads the medium; ``warm`` if it cannot."""
    return _sub(
        f"sync; D={shlex.quote(device)}",
        'blockdev --flushbufs "$D" 2>/dev/null; a=$?',
        "{ echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; b=$?",
        "[ $a = 0 ] || [ $b = 0 ] || echo warm",
    )


def claim(device: str, mount_points: Sequence[str]) -> str:
    """Return a script that unmounts ``mount_points``; it prints ``busy`` if the kernel says so.

    The kernel reads a partition table again only if nobody uses any of the partitions.
    """
    return _sub(
        *(f"umount {shlex.quote(one)} 2>&1 || exit 1" for one in mount_points),
        f"m=$(blockdev --rereadpt {shlex.quote(device)} 2>&1)",
        'case $m in *"esource busy"*) echo busy;; esac; :',
    )


def reread(device: str) -> str:
    """Return a script that lets the kernel read the partition table again."""
    name = shlex.quote(device)
    return _sub(f"sync; blockdev --rereadpt {name} 2>/dev/null || partprobe {name} 2>/dev/null; :")
