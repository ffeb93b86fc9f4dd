"""The server, asked over HTTP as Prometheus asks it."""

import gzip
import http.client
import socket
import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from labctl.errors import BusyError, LabctlError, UsageError
from labctl.metrics.server import address, is_loopback, make_server, url
from labctl.report.metrics import Collected, Family


@pytest.fixture
def server() -> Iterator[WSGIServer]:
    count = Family("labctl_test", "A count.", "counter")
    count.add(3.0, host='a"b\\c\n\ud800')
    info = Family("labctl_words", "Words.", "info")
    info.add(1.0, version="1")
    with make_server("127.0.0.1:0", Collected([count, info])) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join(30)


def get(server: WSGIServer, path: str = "/metrics", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)  # type: ignore[misc]
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.getheader("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return answer.status, answer.getheader("Content-Type") or "", body


# What Prometheus 2.42 sends (scrape/scrape.go).
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def test_both_forms_say_the_same(server: WSGIServer) -> None:
    status, kind, body = get(server)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    first = {family.name: family for family in plain(body.decode())}
    status, kind, body = get(server, Accept=ACCEPT, **{"Accept-Encoding": "gzip"})
    assert status == 200
    assert kind.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert body.endswith(b"# EOF\n")
    second = {family.name: family for family in openmetrics(body.decode())}
    assert second["labctl_words"].type == "info"
    for found in (first, second):
        (sample,) = found["labctl_test"].samples
        assert (sample.name, sample.value) == ("labctl_test_total", 3.0)
        assert sample.labels == {"host": 'a"b\\c\n?'}
    assert "process_resident_memory_bytes" in first


def test_other_paths_and_methods(server: WSGIServer) -> None:
    assert get(server, "/")[0] == 200
    assert b"/metrics" in get(server, "/")[2]
    assert get(server, "/secret")[0] == 404
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)  # type: ignore[misc]
    connection.request("POST", "/metrics", body=b"x")
    assert connection.getresponse().status == 405


def test_who_connects_and_says_nothing_delays_nobody(server: WSGIServer) -> None:
    with socket.create_connection(server.server_address[:2], timeout=30):  # type: ignore[arg-type]
        assert get(server)[0] == 200


def test_a_port_that_is_taken(server: WSGIServer) -> None:
    where = f"127.0.0.1:{server.server_address[1]}"
    assert url(server) == f"http://{where}/metrics"
    with pytest.raises(BusyError, match="another program listens there"):
        make_server(where, Collected([]))


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(LabctlError, match="give another --listen"):
        make_server("192.0.2.1:0", Collected([]))  # RFC 5737: nobody's


@pytest.mark.parametrize("text", ["", "9780", ":9780", "127.0.0.1", "127.0.0.1:x", "host:1",
                                  "127.0.0.1:70000", "[::1]", "127.0.0.1:-1"])  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="write it as"):
        address(text)


def test_addresses() -> None:
    assert address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert address("[::1]:9780") == ("::1", 9780)
    assert is_loopback("::1")
    assert is_loopback("127.3.2.1")
    assert not is_loopback("0.0.0.0")
