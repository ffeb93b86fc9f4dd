"""Debian packages of another architecture or archive part: fetched and unpacked, never installed.

apt gets a configuration, lists and a cache of its own, so the host's are neither read nor changed,
and no root is needed. What it fetches is checked against lists that Debian's keys have signed; a
mirror whose lists do not match their signed index is refused.

Sources: apt.conf(5), sources.list(5), apt-get(8) (download), apt-secure(8), dpkg-deb(1).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import LabctlError
from labctl.vlab import hostapt, steps
from labctl.vlab.programs import KEYRING, tool_environment
from labctl.vlab.steps import Progress

_ASK_S = 60.0


def sources_for(suite: str, host: Sequence[str], parts: Sequence[str] = ()) -> list[str]:
    """Return the ``host``'s sources of Debian 12, for ``suite`` in its place.

    Args:
        suite: A Debian suite, such as ``trixie``.
        host: One-line sources, as `hostapt.debian_sources` returns them.
        parts: Parts of the archive, such as ``non-free``; the host's own by default.
    """
    lines = []
    for line in host:
        kind, uri, own, *components = line.split()
        wanted = suite + own.removeprefix(hostapt.SUITE)
        lines.append(
            " ".join([kind, f"[signed-by={KEYRING}]", uri, wanted, *(parts or components)])
        )
    return lines


def config_text(folder: Path, architecture: str, proxies: str) -> str:
    """Return the apt.conf(5) of an apt that lives in ``folder`` alone.

    Args:
        folder: Its folder.
        architecture: Debian architecture of the packages.
        proxies: More text, see `hostapt.proxy_config`.
    """
    return (
        f'Dir "{folder}";\n'
        f'Dir::State "{folder}/state";\n'
        f'Dir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache";\n'
        f'Dir::Etc "{folder}/etc";\n'
        'Dir::Etc::trusted "/dev/null";\n'
        'Dir::Etc::trustedparts "/dev/null";\n'
        f'APT::Architecture "{architecture}";\n'
        f'APT::Architectures {{ "{architecture}"; }};\n'
        'Acquire::Languages "none";\n'
        # The folder is ours alone, so apt's own user could not write to it.
        f'APT::Sandbox::User "root";\n{proxies}'
    )


class ForeignApt:
    """An apt for another architecture, in a folder of its own.

    Args:
        work: Folder of the build; the apt lives below it.
        architecture: Debian architecture of the packages.
        suite: Debian suite.
        thing: What the packages are for, for messages.
        progress: Gets a line for each step.
        parts: Parts of the archive; the host's own by default.
    """

    def __init__(
        self,
        work: Path,
        architecture: str,
        suite: str,
        *,
        thing: str,
        progress: Progress,
        parts: Sequence[str] = (),
    ) -> None:
        self._work, self._thing, self._progress = work, thing, progress
        self.folder = work / "apt"
        for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d",
                     "etc/preferences.d", "etc/sources.list.d", "debs"):  # fmt: skip
            (self.folder / name).mkdir(parents=True)
        (self.folder / "status").touch()
        sources = sources_for(suite, hostapt.debian_sources(), parts)
        (self.folder / "etc/sources.list").write_text("\n".join(sources) + "\n")
        proxies = hostapt.proxy_config(hostapt.proxies(), for_qemu=False)
        config = self.folder / "apt.conf"
        config.write_text(config_text(self.folder, architecture, proxies))
        self._environment = {"APT_CONFIG": str(config)}

    def fetch(self, kernel: str, others: Sequence[str]) -> None:
        """Fetch the package of ``kernel`` and ``others``.

        Raises:
            LabctlError: apt refused or failed; the message is its own.
        """
        self._update()
        self._download([self._behind(kernel), *others])

    def download(self, names: Sequence[str]) -> None:
        """Fetch the packages ``names``, and nothing that they depend on.

        Raises:
            LabctlError: apt refused or failed; the message is its own.
        """
        self._update()
        self._download(names)

    def _update(self) -> None:
        # An index that cannot be had or trusted is a mistake, not a reason for old ones.
        self._run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"])

    def _download(self, names: Sequence[str]) -> None:
        self._run(["apt-get", "-q", "download", *names], folder=self.folder / "debs")

    def _behind(self, kernel: str) -> str:
        """Return the package of the present release that the metapackage ``kernel`` names."""
        done = subprocess.run(
            ["apt-cache", "depends", "--important", kernel], capture_output=True, text=True,
            timeout=_ASK_S, check=False, env={**tool_environment(), **self._environment},
        )  # fmt: skip
        if done.returncode != 0:
            raise LabctlError(
                f"Debian has no package '{kernel}' for it", thing=self._thing,
                action="correct 'kernel' in its virtual.yaml",
            )  # fmt: skip
        wanted = [word for word in done.stdout.split() if word.startswith("linux-image-")]
        return next((name for name in wanted if name != kernel), kernel)

    def unpack(self, root: Path) -> None:
        """Unpack what was fetched into ``root``.

        Raises:
            LabctlError: dpkg-deb failed.
        """
        for archive in sorted((self.folder / "debs").glob("*.deb")):
            self._run(["dpkg-deb", "-x", str(archive), str(root)])

    def _run(self, command: list[str], folder: Path | None = None) -> None:
        steps.run(
            command, self._progress, self._work, thing=self._thing, folder=folder,
            environment=self._environment,
        )  # fmt: skip
