"""Who may see and who may do: the host that is named, the token, where the request comes from.

Law: a function of the request. Nothing but this module decides, and every request passes it. Host: a page of another
site whose name leads here (DNS rebinding) is refused. Token: no cookie is ever set, so no other page can make a
browser send it. Origin: what changes something comes from our own page or from no page.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .http import Refused, Request

_OPEN = frozenset({"/", "/page.js", "/page.css", "/livez"})
"""What holds nothing of the cluster: the page, and whether we live."""


@dataclass(frozen=True)
class Guard:
    """`names`: hosts that are ours beside localhost and plain addresses. `acts`: actions are allowed."""

    token: str
    names: frozenset[str] = frozenset()
    acts: bool = False

    @classmethod
    def of(cls, token: str, names: Iterable[str] = (), *, acts: bool) -> Guard:
        return cls(token, frozenset(name.lower() for name in names), acts)

    def check(self, request: Request) -> None:
        """Raises Refused."""
        self._host(request)
        if request.path in _OPEN and request.method != "POST":
            return
        self._token(request)
        if request.method == "POST":
            self._origin(request)

    def action(self, request: Request) -> dict[str, Any]:
        """What is asked for. Raises Refused."""
        if not self.acts:
            raise Refused(403, "This page is for looking only. Start it with --allow-actions to act.")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "An action is JSON.")
        try:
            asked = json.loads(request.body)
        except (ValueError, RecursionError):
            raise Refused(400, "This is no JSON.") from None
        if not isinstance(asked, dict):
            raise Refused(400, "An action is an object.")
        return asked

    def _host(self, request: Request) -> None:
        if not self.ours(request.headers.get("host", "localhost")):
            raise Refused(421, "This host is not served here. Name it with --host-name if it is yours.")

    def ours(self, host: str) -> bool:
        """A name could be made to lead here by anybody; an address could not."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self.names or name == "localhost":
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _token(self, request: Request) -> None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.token.encode())
        if kind.lower() != "bearer" or not same:
            raise Refused(
                401, "The token is missing or another one. It stands in the address that was printed at start."
            )

    def _origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
            raise Refused(403, "This came from another site.")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "This came from another site.")
