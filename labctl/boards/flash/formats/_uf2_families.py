"""Chips by the family number of a UF2 file: chip and processor.

Sources: https://github.com/microsoft/uf2, utils/uf2families.json; esptool (Espressif's newer
chips); RP2350 datasheet, "UF2 targeting rules" (its families, one for each kind of processor). The
processors are those of the makers' datasheets.
"""

from __future__ import annotations

# Names as in Image.chip: small letters, without what is no letter or digit but '-'.
FAMILIES: dict[int, tuple[str, str | None]] = {
    0x16573617: ("atmega32", "avr"),
    0x1851780A: ("saml21", "arm"),
    0x1B57745F: ("nrf52", "arm"),
    0x1C5F21B0: ("esp32", "xtensa"),
    0x1E1F432D: ("stm32l1", "arm"),
    0x202E3A91: ("stm32l0", "arm"),
    0x21460FF0: ("stm32wl", "arm"),
    0x2ABC77EC: ("lpc55", "arm"),
    0x300F5633: ("stm32g0", "arm"),
    0x31D228C6: ("gd32f350", "arm"),
    0x04240BDF: ("stm32l5", "arm"),
    0x4C71240A: ("stm32g4", "arm"),
    0x4FB2D5BD: ("mimxrt10xx", "arm"),
    0x53B80F00: ("stm32f7", "arm"),
    0x55114460: ("samd51", "arm"),
    0x57755A57: ("stm32f4", "arm"),
    0x5A18069B: ("fx2", None),
    0x5D1A0A2E: ("stm32f2", "arm"),
    0x5EE21072: ("stm32f1", "arm"),
    0x621E937A: ("nrf52833", "arm"),
    0x647824B6: ("stm32f0", "arm"),
    0x68ED2B88: ("samd21", "arm"),
    0x6B846188: ("stm32f3", "arm"),
    0x6D0922FA: ("stm32f407", "arm"),
    0x6DB66082: ("stm32h7", "arm"),
    0x70D16653: ("stm32wb", "arm"),
    0x7EAB61ED: ("esp8266", "xtensa"),
    0x7F83E793: ("kl32l2", "arm"),
    0x8FB060FE: ("stm32f407vg", "arm"),
    0xADA52840: ("nrf52840", "arm"),
    0xBFDD4EEE: ("esp32s2", "xtensa"),
    0xC47E5767: ("esp32s3", "xtensa"),
    0xD42BA06C: ("esp32c3", "riscv32"),
    0x2B88D29C: ("esp32c2", "riscv32"),
    0x332726F6: ("esp32h2", "riscv32"),
    0x540DDF62: ("esp32c6", "riscv32"),
    0x3D308E94: ("esp32p4", "riscv32"),
    0x77D850C4: ("esp32c61", "riscv32"),
    0xF71C0343: ("esp32c5", "riscv32"),
    0xB6DD00AF: ("esp32h21", "riscv32"),
    0x9E0BAA8A: ("esp32h4", "riscv32"),
    0xE48BFF56: ("rp2040", "arm"),
    0xE48BFF59: ("rp2350", "arm"),
    0xE48BFF5A: ("rp2350", "riscv32"),
    0xE48BFF5B: ("rp2350", "arm"),
    0x00FF6919: ("stm32l4", "arm"),
    0x9AF03E33: ("gd32vf103", "riscv32"),
    0x6E7348A8: ("csk6", "arm"),
}
# Families that name no chip: Raspberry Pi's "absolute" and "data".
ABSOLUTE = 0xE48BFF57
NO_CHIP = {ABSOLUTE, 0xE48BFF58}
# picotool and the SDK put a block before a program for the RP2350 that its boot ROM takes and
# ignores (RP2350 datasheet, erratum E10): of this family, at this address.
E10_ADDRESS = 0x10FFFF00
