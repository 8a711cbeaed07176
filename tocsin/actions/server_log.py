"""Lines in the server's own log."""

from __future__ import annotations

from tocsin.actions.call import EXCERPT_CHARS, Call
from tocsin.actions.ports import Details
from tocsin.schemas.action import Log


async def write_log(spec: Log, call: Call) -> Details:
    """Write the message as one line, so that event data can not pretend to be another."""
    message = " ".join(call.text(spec.message).splitlines())
    call.ports.log.write(spec.level, message, {"automation": call.firing.automation, "firing": call.firing.id})
    return {"message": message[:EXCERPT_CHARS]}
