"""Text that a board may send and that its listeners must survive."""

from __future__ import annotations

from collections.abc import Iterator

_PIECE = 16384
_FLOODS = {
    # No newline at all.
    "line": b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-" * 256,
    # Impossible bytes, a bare continuation, cut and overlong sequences, a surrogate (RFC 3629).
    "utf8": b"\xff\xfe \x80 \xc3( \xe2\x82 \xc0\xaf \xed\xa0\x80 \xf8\x88\x80\x80\x80\r\n" * 512,
    # Window title, clipboard, cursor and device queries that make a terminal type, alternate
    # screen, scroll region, 8-bit CSI (ECMA-48, and xterm's ctlseqs.ms).
    "escapes": (
        b"\x1b]0;title\x07\x1b]52;c;ZWNobyBoaQ==\x07\x1b[6n\x1b[c\x1b[?1049h\x1b[2J\x1b[1;2r"
        b"\x1b[31mred\x1bP$q\"p\x1b\\\x9b5n\x1b[?25l\r\n"
    )
    * 128,
}  # fmt: skip


def flood(kind: str, count: int) -> Iterator[bytes]:
    """Yield ``count`` bytes in pieces, of ``line``, ``utf8`` or ``escapes``."""
    block = _FLOODS[kind]
    while count > 0:
        for at in range(0, len(block), _PIECE):
            piece = block[at : at + min(_PIECE, count)]
            if not piece:
                return
            yield piece
            count -= len(piece)
