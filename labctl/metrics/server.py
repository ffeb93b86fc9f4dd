"""Serve metrics over HTTP: Prometheus' text format, or OpenMetrics where it is asked for.

Source: wsgiref (Python's documentation), prometheus_client, RFC 9110 section 12.5.1 (Accept).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

from labctl.errors import BusyError, LabctlError, UsageError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

PATH = "/metrics"
# A client that says nothing, or takes nothing, for so long is left.
_IDLE_S = 10.0
_PAGE = b"labctl serves metrics at /metrics; see docs/metrics.md\n"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``127.0.0.1:9780`` or ``[::1]:9780``.

    Raises:
        UsageError: It is none of these.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 65535:
        raise UsageError(
            "no address and port", thing=text, action="write it as 127.0.0.1:9780 or [::1]:9780"
        )
    return host, number


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the IP address ``host``."""
    return ipaddress.ip_address(host).is_loopback


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape each few seconds is no news."""

    def address_string(self) -> str:
        """Return the client's address; its name would have to be looked up."""
        return str(self.client_address[0])


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind without a look-up of this machine's name, which may take long."""
        if ":" in str(self.server_address[0]):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


def make_server(listen: str, collector: Collector) -> WSGIServer:
    """Return a server that listens; ``serve_forever`` serves, ``shutdown`` ends it.

    Args:
        listen: Address and port; port 0 is a free one.
        collector: Gives the metrics of hosts; those of this process are added.

    Raises:
        UsageError: ``listen`` is no address.
        BusyError: Another program listens there.
        LabctlError: It cannot listen there for another reason.
    """
    host, port = address(listen)
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    kind = _Server6 if ":" in host else _Server
    try:
        server = kind((host, port), _Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BusyError(
                "another program listens there", thing=listen, action="give another --listen"
            ) from error
        raise LabctlError(
            error.strerror or str(error), thing=listen, action="give another --listen"
        ) from error
    server.set_app(_only_at_path(make_wsgi_app(registry)))
    return server


def url(server: WSGIServer) -> str:
    """Return where ``server`` has the metrics."""
    host, port = server.server_address[:2]
    text = f"[{host!s}]" if ":" in str(host) else str(host)
    return f"http://{text}:{port}{PATH}"


def _only_at_path(metrics: App) -> App:
    def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == PATH:
            return metrics(environ, start)
        status = "200 OK" if path == "/" else "404 Not Found"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [_PAGE]

    return serve
