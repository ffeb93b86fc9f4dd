from __future__ import annotations

from pathlib import Path

import pytest

from labctl.vlab import hostapt

DEB822 = """\
Types: deb
# a comment in the middle
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://security.debian.org/debian-security/
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def folder(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = name.replace("__", "/").replace("_", ".")
        (tmp_path / path).write_text(text)
    return tmp_path


def test_deb822_sources_of_debian_are_taken(tmp_path: Path) -> None:
    apt = folder(tmp_path, sources_list_d__debian_sources=DEB822)
    (apt / "sources.list.d/debian.sources").write_text(DEB822)
    assert hostapt.debian_sources(apt) == [
        "deb http://deb.debian.org/debian bookworm main contrib",
        "deb http://deb.debian.org/debian bookworm-updates main contrib",
        "deb http://security.debian.org/debian-security bookworm-security main",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "deb https://packages.example/apt cloud-sdk-bookworm main",
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://apt.vendor.example bookworm main",
        "deb https://download.vendor.example/linux/debian bookworm stable",
        "deb-src http://deb.debian.org/debian bookworm main",
        "deb cdrom:[Debian GNU/Linux 12]/ bookworm main",
        "# deb http://deb.debian.org/debian bookworm main",
        "deb http://deb.debian.org/debian trixie main",
        "nonsense",
    ],
)
def test_what_is_not_debian_12_itself_is_left_out(tmp_path: Path, line: str) -> None:
    apt = folder(tmp_path)
    mirror = "deb http://mirror.example/debian bookworm main"
    (apt / "sources.list").write_text(f"{line}\n{mirror}\n")
    assert hostapt.debian_sources(apt) == [mirror]


def test_a_host_without_debian_12_gets_the_public_archive(tmp_path: Path) -> None:
    apt = folder(tmp_path)
    (apt / "sources.list").write_text("deb http://archive.ubuntu.com/ubuntu noble main\n")
    sources = hostapt.debian_sources(apt)
    assert "deb http://deb.debian.org/debian bookworm main" in sources
    assert len(sources) == 3


def test_options_and_comments_of_one_line_sources(tmp_path: Path) -> None:
    apt = folder(tmp_path)
    (apt / "sources.list").write_text(
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "https://m.example/debian/ bookworm main non-free-firmware # local\n"
    )
    assert hostapt.debian_sources(apt) == [
        "deb https://m.example/debian bookworm main non-free-firmware"
    ]


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://localhost:3142", "http://10.0.2.2:3142"),
        ("http://127.0.0.1:3142/", "http://10.0.2.2:3142/"),
        ("http://[::1]:3142", "http://10.0.2.2:3142"),
        ("http://localhost.example:80", "http://localhost.example:80"),
        ("http://proxy.example:8080", "http://proxy.example:8080"),
    ],
)
def test_a_proxy_on_the_host_is_reached_through_the_gateway(url: str, inside: str) -> None:
    found = [("Acquire::http::Proxy", url)]
    assert hostapt.proxy_config(found, for_qemu=True) == f'Acquire::http::Proxy "{inside}";\n'
    assert hostapt.proxy_config(found, for_qemu=False) == f'Acquire::http::Proxy "{url}";\n'


def test_proxies_come_from_apt_then_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "apt-config"
    tool.write_text(
        "#!/bin/sh\necho 'Acquire::http::Proxy \"http://p:1\";'\n"
        "echo 'Acquire::http::Proxy::local.example \"DIRECT\";'\n"
        "echo 'Acquire::https::Proxy \"\";'\necho 'Acquire::Retries \"3\";'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("http_proxy", "http://env:1")
    assert hostapt.proxies() == [
        ("Acquire::http::Proxy", "http://p:1"),
        ("Acquire::http::Proxy::local.example", "DIRECT"),
    ]
    tool.write_text("#!/bin/sh\n")
    assert ("Acquire::http::Proxy", "http://env:1") in hostapt.proxies()
