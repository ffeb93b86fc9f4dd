"""Paths and URLs; a password is refused and never shown."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.store.place import Place


def test_a_path_is_a_path() -> None:
    assert Place.of("/a b/c.sqlite") == Place(path=Path("/a b/c.sqlite"))
    assert Place.of(Path("postgresql:x")).path == Path("postgresql:x")
    assert str(Place.of("x.sqlite")) == "x.sqlite"


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann@db/lab", "postgresql:///lab?host=/run/x&port=5", "postgresql://",
     "postgres://[::1]:5432/lab", "postgresql://ann@h1,h2:5/lab?passfile=/x", "POSTGRESQL://db/x"],
)  # fmt: skip
def test_a_server_is_shown_as_it_was_named(url: str) -> None:
    assert str(Place.of(url)) == url
    assert Place.of(url).path is None


@pytest.mark.parametrize("url", ["mysql://db/lab", "sqlite:///x", "http://x"])
def test_other_kinds_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no such kind of database"):
        Place.of(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann:Xsecret@db/lab", "postgresql://db/lab?password=Xsecret",
     "postgresql://ann:Xsecret@h1,h2/lab", "postgresql://db/lab?user=a&pass%77ord=Xsecret",
     "postgresql://db/lab?sslpassword=Xsecret", "postgres://:Xsecret@db", "postgresql://a:Xsecret@",
     "postgresql://ann:X/secret@db/lab", "postgresql://ann:X@secret@db/lab",
     "postgresql://ann:X?secret@db/lab", "postgresql://ann:Xsecret@[::1/lab"],
)  # fmt: skip
def test_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Place.of(url)
    assert "secret" not in str(raised.value)
    assert "X" not in str(raised.value)


@given(st.text(min_size=1), st.sampled_from(["postgresql://a:{}@db/lab", "postgresql://a:{}@/x?y"]))
def test_no_password_is_ever_shown(password: str, form: str) -> None:
    secret = "Zq" + quote(password, safe="@/?:#[]&=") + "qZ"
    with pytest.raises(UsageError) as raised:
        Place.of(form.format(secret))
    assert "Zq" not in str(raised.value)
    assert "qZ" not in str(raised.value)
