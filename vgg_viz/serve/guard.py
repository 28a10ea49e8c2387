"""Who may ask: checks of Host, Origin and method before any answer, and the headers that every answer carries.

A page of another site can make a reader's browser send requests to this machine, and by DNS rebinding even read the
answers. The first is seen by its Origin, the second by its Host: the browser names the site that it believes to talk to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
METHODS = ("GET", "HEAD", "POST")
# An answer that says nothing else may load, run and embed nothing.
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the server listens.

    Attributes:
        host: As given: a name or an address; "0.0.0.0" and "::" stand for every address of this machine.
        port: [1, 65535].
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        wild = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{wild}]' if ':' in wild else wild}:{self.port}/"

    def is_ours(self, authority: str) -> bool:
        """Whether `authority` (host, or host:port) is a name under which this server may be asked.

        Names of this machine's loopback and the host as given, with our port. A server for every address also takes any
        plain address: rebinding needs a name.
        """
        match = _AUTHORITY.fullmatch(authority)
        if match is None or int(match[3] or 80) != self.port:
            return False
        host = (match[1] or match[2]).lower()
        return (
            host in LOOPBACK
            or host == self.host.lower()
            or (self.host in ("0.0.0.0", "::") and _address(host) is not None)
        )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Guard:
    """Wraps the application: refuses strangers, and puts the headers on whatever is answered."""

    def __init__(self, application: ASGIApp, place: ListenAddress) -> None:
        self.application, self.place = application, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on or refuse it."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here; uvicorn is told so, too

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", NOTHING)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self.refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refused or self.application)(scope, receive, sending)

    def refusal(self, method: str, path: str, headers: Headers) -> PlainTextResponse | None:
        """The answer to a request that is refused for who asks; None when it may pass."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.place.is_ours(hosts[0]):
            return PlainTextResponse(f"This server answers to {self.place.url} only; open that address.\n", 400)
        if any(not origin.startswith("http://") or not self.place.is_ours(origin[7:]) for origin in origins):
            return PlainTextResponse("A page of another site asked; open this server's own page.\n", 403)
        if method not in METHODS:
            return PlainTextResponse(f"This server knows {', '.join(METHODS)}.\n", 405, {"Allow": ", ".join(METHODS)})
        if method == "POST" and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("A page of another site asked; open this server's own page.\n", 403)
        if re.search(r"[\x00-\x1f\x7f]", path):  # a router's pattern may overlook a line end
            return PlainTextResponse("There is no such address.\n", 404)
        return None
