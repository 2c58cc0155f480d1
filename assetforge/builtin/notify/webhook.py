"""Posting a notification to an address, signed.

The receiver checks ``X-Assetforge-Signature`` against ``"sha256=" + hmac_sha256(secret, timestamp + "." + body)``, refuses old timestamps, and drops
deliveries whose ``X-Assetforge-Delivery`` it has seen: what was sent is sent again when the answer got lost.
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import urlsplit

from assetforge import __version__
from assetforge.builtin.notify.settings import NotifyConfig
from assetforge.builtin.notify.wording import Notification
from assetforge.errors import ConfigError

__all__ = ["WEBHOOK_LIMIT_S", "Outcome", "encoded", "post", "signature"]

WEBHOOK_LIMIT_S = 10.0
"""How long the receiver may be silent."""

_TRY_LATER = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try went.

    Attributes:
        problem: Why it failed; empty when it did not.
        again: Whether another try may help.
        after_s: In how many seconds the receiver wants to be tried again, if it said so.
        output: What a program printed.
    """

    problem: str = ""
    again: bool = False
    after_s: float | None = None
    output: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """What was meant for one host goes to no other; the answer becomes an error."""


def encoded(notification: Notification) -> bytes:
    """The notification as JSON, in bytes that any program reads."""
    return json.dumps(notification.document()).encode("ascii")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What proves that the body comes from somebody who knows the secret."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(notification: Notification, settings: NotifyConfig) -> Outcome:
    """Post a notification once. Messages name the host alone: the rest of an address is often a secret."""
    host = urlsplit(settings.webhook).hostname
    try:
        request = _request(notification, settings)
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=WEBHOOK_LIMIT_S):
            return Outcome()
    except ConfigError as error:
        return Outcome(error.message, again=True)
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error.code, host, error.headers)
    except TimeoutError:
        return Outcome(f"{host} did not answer within {WEBHOOK_LIMIT_S:.0f} s", again=True)
    except urllib.error.URLError as error:
        return Outcome(f"{host} cannot be reached: {error.reason}", again=True)
    except http.client.InvalidURL:
        return Outcome("the address of the webhook cannot be used")
    except (OSError, http.client.HTTPException) as error:
        return Outcome(f"{host} broke the connection ({type(error).__name__})", again=True)


def _request(notification: Notification, settings: NotifyConfig) -> urllib.request.Request:
    body, timestamp = encoded(notification), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"assetforge/{__version__}",
        "X-Assetforge-Event": notification.event.encode("ascii", "replace").decode(),
        "X-Assetforge-Delivery": notification.id,
        "X-Assetforge-Timestamp": timestamp,
    }
    secret = settings.secret()
    if secret:
        headers["X-Assetforge-Signature"] = signature(secret, timestamp, body)
    # The settings take http and https alone.
    return urllib.request.Request(settings.webhook, data=body, headers=headers, method="POST")  # noqa: S310


def _refusal(code: int, host: str | None, headers: Message) -> Outcome:
    if code in _TRY_LATER or code >= 500:
        return Outcome(f"{host} answered {code}", again=True, after_s=_seconds(headers.get("Retry-After", "")))
    if 300 <= code < 400:
        return Outcome(f"{host} answered {code}, and redirects are not followed; set the final address")
    return Outcome(f"{host} answered {code}")


def _seconds(retry_after: str) -> float | None:
    with contextlib.suppress(ValueError):
        return max(0.0, float(int(retry_after)))
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(retry_after)
        return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    return None
