"""Mail and notification services: blocking libraries, called from a few threads of their own."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from functools import partial

from tocsin.errors import ActionFailed
from tocsin.schemas.channel import EmailChannel

_STEP_S = 10.0  # the longest wait for one step of a mail server
_THREADS = 8


class Messengers:
    """Fits the ports `Mail` and `Services`; `close` it at the end."""

    def __init__(self) -> None:
        """Prepare; threads start when they are needed."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tocsin-messenger")

    async def send(self, message: EmailMessage, channel: EmailChannel, password: str | None) -> list[str]:
        """Hand mail to the channel's server; return the addresses that it refused while it took others.

        Raises:
            ActionFailed: the server took nothing.
        """
        work = partial(_deliver, message, channel, password)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def notify(self, url: str, *, title: str, body: str) -> None:
        """Send through Apprise.

        Raises:
            ActionFailed: the service did not take it, or Apprise is not installed or does not know the URL.
        """
        work = partial(_notify, url, title, body)
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _deliver(message: EmailMessage, channel: EmailChannel, password: str | None) -> list[str]:
    place = f"{channel.host}:{channel.port}"
    secure = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(channel.host, channel.port, timeout=_STEP_S, context=secure)
            if channel.security == "tls"
            else smtplib.SMTP(channel.host, channel.port, timeout=_STEP_S)
        ) as server:
            if channel.security == "starttls":
                server.starttls(context=secure)
            if channel.username is not None and password is not None:
                server.login(channel.username, password)
            return list(server.send_message(message))
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise _refused(f"{place} refused all recipients", code, text) from None
    except smtplib.SMTPResponseException as error:
        raise _refused(f"{place} refused", error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPNotSupportedError as error:
        raise ActionFailed(f"{place}: {error}", permanent=True) from None
    except (smtplib.SMTPException, OSError) as error:
        raise ActionFailed(f"{place}: {type(error).__name__}") from None


def _refused(what: str, code: int, text: bytes | str) -> ActionFailed:
    """A reply from 500 on is final (RFC 5321, section 4.2.1)."""
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return ActionFailed(f"{what}: {code} {said}", permanent=code >= 500)


def _notify(url: str, title: str, body: str) -> None:
    try:
        import apprise
    except ImportError:
        raise ActionFailed("Apprise is not installed: pip install 'tocsin[notify]'", permanent=True) from None
    service = apprise.Apprise()
    if not service.add(url):
        raise ActionFailed("Apprise does not know this URL: check the secret that holds it", permanent=True)
    if not service.notify(title=title, body=body):
        raise ActionFailed("the service did not take the notification")
