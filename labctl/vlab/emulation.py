"""How a box is run without KVM so that emulation costs as little as it can.

What it gains is measured by bench/box_start.py. None of this is on the disk: the same box boots
with Debian's defaults where KVM runs it.

Sources: Documentation/admin-guide/kernel-parameters.txt of the Linux kernel,
systemd-debug-generator(8) (systemd.mask=), systemd.unit(5) (systemd.condition-needs-update=),
kernel-command-line(7), QEMU's documentation of the q35 machine.
"""

from __future__ import annotations

# Without USB, IDE/SATA, SMBus, i8042, HPET: each is a device for udev and a module to load.
_MACHINE_OFF = ("usb", "vmport", "hpet", "smm", "sata", "smbus", "i8042")

ACCEL = {"kvm": "kvm", "tcg": "tcg,thread=multi,tb-size=512"}
CPU = {
    "kvm": "host",
    # Of the models that Debian runs on, this one (x86-64-v2, no AVX, no SMAP) costs least to
    # emulate.
    "tcg": "Nehalem-v1",
}
MACHINE = {
    "kvm": "q35",
    "tcg": ",".join(["q35", *(f"{device}=off" for device in _MACHINE_OFF)]),
}

# Early units that have nothing to do in an emulated box: mounts for debugging, huge pages,
# modules for hardware that is not there, scrubbing of a disk that is thrown away.
_MASKED = (
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "e2scrub_reap.service",
    "getty@tty1.service",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-network-generator.service",
    "systemd-pstore.service",
    "systemd-update-utmp-runlevel.service",
)

_WORDS = ("rw", "console=ttyS0", "quiet", "systemd.show_status=1")
_EMULATED_WORDS = (
    # QEMU 7.2 translates code again when a program is loaded at another address. With address
    # randomisation every start of every program does that for all of libc. It stays on under KVM.
    "norandmaps",
    # The emulated processor does not speculate.
    "mitigations=off",
    # A time source that the host vouches for; no calibration against another.
    "tsc=reliable",
    "no_timer_check",
    "8250.nr_uarts=1",
    # The image is as its packages left it; there is nothing to bring up to date at the first boot.
    "systemd.condition-needs-update=no",
)


def kernel_words(accel: str) -> str:
    """Return the kernel command line for a box under ``accel`` (``kvm`` or ``tcg``)."""
    words = [*_WORDS]
    if accel == "tcg":
        words += [*_EMULATED_WORDS, *(f"systemd.mask={unit}" for unit in _MASKED)]
    return " ".join(words)
