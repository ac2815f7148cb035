"""What the person on call is to look at first when a Redis cannot be reached or refuses a command: words alone.

Law: each is appended to an error that says what happened; nothing is connected, nothing is decided.
"""

from __future__ import annotations

from _socket import gaierror
from collections.abc import Mapping

from ..protocol.wire.resp import ErrorReply
from .redis_place import Place

# By the first word of Redis' answer.
_REFUSALS: Mapping[str, str] = {
    "OOM": "it is full: raise its maxmemory, or empty what nobody reads",
    "MISCONF": "it cannot save to its disk, and takes no writes until it can: see its log and its disk",
    "READONLY": "this is a replica: point the URL at the master, or at the Sentinels that know it",
    "NOAUTH": "it wants a password, and the URL has none",
    "WRONGPASS": "the user or the password in the URL or the settings is wrong there",
    "NOPERM": "grant its user this command, and the keys and channels of ours: ACL SETUSER",
    "LOADING": "it has just started and reads its data: it will answer when it has",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
    "DENIED": "it is in protected mode: set a password or bind there",
}


_SENTINEL = "is this a Sentinel? Then the URL is sentinel://host:26379, with the transport option master_name"


def answer(reply: ErrorReply) -> str:
    """What Redis said, and what to do about it where that is known."""
    advice = _SENTINEL if "unknown command 'MULTI'" in reply.text else _REFUSALS.get(reply.code)
    return reply.text if advice is None else f"{reply.text} ({advice})"


def unreachable(place: Place, problem: BaseException) -> str:
    """A question that ends the error of who could not connect."""
    if isinstance(problem, gaierror):
        return "is the name right, and does the name server know it?"
    if place.tls is None:
        return "is it up, and reachable?"
    if isinstance(problem, (FileNotFoundError, PermissionError)):
        files = (place.tls.ca_certs, place.tls.ca_path, place.tls.certfile, place.tls.keyfile)
        return f"may we read these: {', '.join(filter(None, files))}?"
    if "CERTIFICATE_VERIFY_FAILED" in str(problem):
        return "is ssl_ca_certs the authority of its certificate, and does that name this host?"
    return "is it up, and reachable, and does this port speak TLS?"


def hung_up_at_once(place: Place) -> str:
    """A question for who was cut off before anything was answered."""
    if place.path is not None:
        return ""
    wants = "TLS (rediss://)" if place.tls is None else "a certificate of ours (ssl_certfile, ssl_keyfile)"
    return f"; it hung up at our first words: does this port want {wants}?"
