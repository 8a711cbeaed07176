"""Prefect's actions in ours, and what they need: blocks become channels, deployments flows, work queues queues.

What the API told about them is in `Known`; an export that came from a file names them by id only. What has no
equivalent raises `NoEquivalent`; what means something else, or is to be filled in, is said in a remark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

from tocsin.errors import TocsinError
from tocsin.review.commented import Entry
from tocsin.review.prefect_template import Translated, Translator

Known: TypeAlias = Mapping[tuple[str, str], Mapping[str, Any]]
"""What Prefect's API answered, by collection (`deployments`, ...) and id; a pool has its queues under `queues`."""

CONCURRENCY = 10
"""How much of a queue runs at once, where Prefect sets no limit."""

_KIND = "__prefect_kind"
_NAME = re.compile(r"[^A-Za-z0-9]+")


class NoEquivalent(TocsinError):
    """Something that Prefect does and tocsin does not; the message says what to do instead."""


def plain_name(text: object, *, otherwise: str) -> str:
    """Return a text as the name of a definition: one line, without `/`."""
    tidy = " ".join("".join(one if one.isprintable() else " " for one in str(text or "")).replace("/", "-").split())
    return tidy[:180] or otherwise


@dataclass(slots=True)
class Catalogue:
    """What the imported actions need, collected while they are translated; names are unique in their section."""

    known: Known
    automations: Mapping[str, str]
    """Names of the automations that are imported, by their ids."""
    channels: dict[str, Entry] = field(default_factory=dict)
    flows: dict[str, Entry] = field(default_factory=dict)
    queues: dict[str, Entry] = field(default_factory=dict)
    _named: dict[tuple[str, str], str] = field(default_factory=dict)

    def _once(self, kind: str, id: object, make: Callable[[str], str]) -> str:
        """Return the name of what an id stands for; it is made when it is first asked for."""
        key = (kind, checked_id(id, of=kind))
        if key not in self._named:
            self._named[key] = make(key[1])
        return self._named[key]

    def channel(self, id: object) -> str:
        """Return the name of the channel for a notification block."""
        return self._once("block_documents", id, self._new_channel)

    def _new_channel(self, id: str) -> str:
        block = self.known.get(("block_documents", id), {})
        name = unique_name(plain_name(block.get("name"), otherwise=f"block-{id[:8]}"), self.channels)
        slug = (block.get("block_type") or {}).get("slug", "")
        remark = _APPRISE.get(slug) or ("" if slug in _CHANNELS else _unknown_block(id, slug))
        address = {"env": variable(name, "url")}
        data = {"name": name, "type": _CHANNELS.get(slug, "apprise"), "url": address}
        self.channels[name] = Entry(data, (remark,) if remark else ())
        return name

    def flow(self, id: object) -> str:
        """Return the name of the flow that starts a deployment."""
        return self._once("deployments", id, self._new_flow)

    def _new_flow(self, id: str) -> str:
        deployment = self.known.get(("deployments", id), {})
        name = unique_name(plain_name(deployment.get("name"), otherwise=f"deployment-{id[:8]}"), self.flows)
        data: dict[str, Any] = {
            "name": name,
            "command": ["sh", "-c", f'exec prefect deployment run --id {id} --params "$TOCSIN_PARAMETERS"'],
        }
        if deployment.get("work_queue_id"):
            data["queue"] = self.queue(deployment["work_queue_id"])
        self.flows[name] = Entry(data, tuple(_about_deployment(deployment)))
        return name

    def queue(self, id: object) -> str:
        """Return the name of the queue for a work queue."""
        return self._once("work_queues", id, self._new_queue)

    def _new_queue(self, id: str) -> str:
        queue = self.known.get(("work_queues", id), {})
        full = ".".join(str(part) for part in (queue.get("work_pool_name"), queue.get("name")) if part)
        name = unique_name(plain_name(full, otherwise=f"queue-{id[:8]}"), self.queues)
        limit = queue.get("concurrency_limit")
        remarks = () if limit else ("Prefect sets no limit, or did not tell it: choose one.",)
        self.queues[name] = Entry({"name": name, "concurrency": min(limit or CONCURRENCY, 10_000)}, remarks)
        return name

    def pool(self, id: object) -> list[str]:
        """Return the names of the queues for a work pool."""
        pool = checked_id(id, of="work_pools")
        queues = self.known.get(("work_pools", pool), {}).get("queues") or ()
        if not queues:
            raise NoEquivalent(f"the queues of work pool {pool} are not known: import from the server's API")
        return [self.queue(queue["id"]) for queue in queues]

    def automation(self, id: object) -> str:
        """Return the name of an automation that is imported as well."""
        name = self.automations.get(checked_id(id, of="automations"))
        if name is None:
            raise NoEquivalent(f"it acts on the automation {id}, which is not imported: import both together")
        return name


def checked_id(value: object, *, of: str) -> str:
    """Return an id in its usual form; nothing else may get into commands and addresses."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise NoEquivalent(f"{value!r} is not an id of Prefect's {of.replace('_', ' ')}") from None


def variable(*parts: str) -> str:
    """Return the name of an environment variable that is made of words."""
    name = _NAME.sub("_", "_".join(parts)).strip("_").upper()
    return f"PREFECT_{name}" if name[:1].isdigit() else name


def unique_name(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: itself, or with a number behind it."""
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name} ({number})", number + 1
    return candidate


_CHANNELS = MappingProxyType({
    "slack-webhook": "slack", "ms-teams-webhook": "teams", "custom-webhook": "webhook",
})  # fmt: skip
"""Types of channels by the slug of the block's type; everything else goes through Apprise."""

_APPRISE = MappingProxyType({
    "mattermost-webhook": "An Apprise URL: mmost://HOST/TOKEN; or type: slack with the address of an incoming webhook.",
    "pager-duty-webhook": "An Apprise URL: pagerduty://INTEGRATION_KEY@API_KEY",
    "twilio-sms": "An Apprise URL: twilio://SID:TOKEN@FROM/TO",
    "opsgenie-webhook": "An Apprise URL: opsgenie://API_KEY",
    "discord-webhook": "An Apprise URL: discord://WEBHOOK_ID/WEBHOOK_TOKEN",
    "sendgrid-email": "An Apprise URL: sendgrid://API_KEY:FROM/TO",
    "custom-webhook": "Sent as this engine's own JSON, not in the form that the block gave it.",
})  # fmt: skip


def _unknown_block(id: str, slug: str) -> str:
    kind = f"of type {slug}" if slug else "of a type that the export does not tell"
    return f"Prefect's block {id} {kind}: set an Apprise URL, or change the type."


def _about_deployment(deployment: Mapping[str, Any]) -> list[str]:
    remarks = ["Starts the deployment on the Prefect server, through Prefect's command line and PREFECT_API_URL."]
    entrypoint = str(deployment.get("entrypoint") or "")
    if ":" in entrypoint:
        own = {"entrypoint": entrypoint} | (
            {"parameters": deployment["parameters"]} if deployment.get("parameters") else {}
        )
        remarks.append(f"To run the code here instead of `command`: {json.dumps(own)[1:-1]}")
    for one in deployment.get("schedules") or ():
        schedule = {name: value for name, value in (one.get("schedule") or {}).items() if value is not None}
        state = "" if one.get("active") else " (inactive)"
        remarks.append(f"Its schedule{state} stays in Prefect: {json.dumps(schedule)}")
    return remarks


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the actions of one automation are translated."""

    catalogue: Catalogue
    translator: Translator

    def text(self, template: object, remarks: list[str]) -> str:
        """Return a template in our names; what was lost is remarked."""
        try:
            translated = self.translator.translate(str(template or ""))
        except ValueError as error:
            raise NoEquivalent(f"its template can not be translated: {error}") from None
        remarks += lost(translated)
        return translated.text

    def value(self, value: Any, remarks: list[str]) -> Any:
        """Return a parameter's value: Prefect's ways of marking templates and JSON are undone."""
        if isinstance(value, dict):
            if _KIND in value:
                return self._marked(value, remarks)
            return {str(name): self.value(item, remarks) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, remarks) for item in value]
        return self.text(value, remarks) if isinstance(value, str) else value

    def _marked(self, value: Mapping[str, Any], remarks: list[str]) -> Any:
        kind, inner = value[_KIND], value.get("value")
        if kind == "jinja":
            return self.text(value.get("template"), remarks)
        if kind == "json" and isinstance(inner, dict) and inner.get(_KIND) == "jinja":
            template = str(inner.get("template") or "").strip()
            single = template.count("{{") == 1 and template.startswith("{{") and template.endswith("}}")
            if single and template[2:-2].rstrip().endswith("tojson"):
                return self.text("{{ " + template[2:-2].rpartition("|")[0].strip() + " }}", remarks)
        elif kind == "json" and isinstance(inner, str):
            try:
                return json.loads(inner)
            except ValueError:
                raise NoEquivalent("a parameter is marked as JSON and is not JSON") from None
        elif kind in (None, "none"):
            return self.value(inner, remarks)
        raise NoEquivalent(f"a parameter of the kind {kind!r} has no equivalent: write its value out")


def lost(translated: Translated) -> list[str]:
    """Return the remark on what of a template has no equivalent, if there is something."""
    if not translated.lost:
        return []
    return [f"No equivalent, written as text: {', '.join(f'`{one}`' for one in translated.lost)}"]


Action: TypeAlias = Mapping[str, Any]
Way: TypeAlias = Callable[[Action, Desk], list[Entry]]


def translate(action: Action, desk: Desk) -> list[Entry]:
    """Return what an action becomes; an empty list where it did nothing.

    Raises:
        NoEquivalent: there is none.
    """
    kind = action.get("type")
    way = _WAYS.get(str(kind))
    if way is None:
        raise NoEquivalent(_NONE.get(str(kind), f"there is no action like {kind!r}"))
    if action.get("source") == "inferred":
        raise NoEquivalent("what it acts on is inferred from the event: name it")
    return way(action, desk)


def _send_notification(action: Action, desk: Desk) -> list[Entry]:
    remarks: list[str] = []
    channel = desk.catalogue.channel(action.get("block_document_id"))
    title = desk.text(action.get("subject") or "Prefect automated notification", remarks)
    body = desk.text(action.get("body"), remarks)
    data = {"type": "send-notification", "channel": channel, "title": title, "body": body}
    return [Entry(data, tuple(dict.fromkeys(remarks)))]


def _call_webhook(action: Action, desk: Desk) -> list[Entry]:
    block_id = checked_id(action.get("block_document_id"), of="block_documents")
    block = desk.catalogue.known.get(("block_documents", block_id), {})
    settings = block.get("data") or {}
    name = plain_name(block.get("name"), otherwise=f"block-{block_id[:8]}")
    remarks = [f"Write the address from Prefect's block {name!r}: it is not told, and this one leads nowhere."]
    payload = action.get("payload") or ""
    body = desk.text(payload if isinstance(payload, str) else json.dumps(payload, indent=2), remarks)
    data: dict[str, Any] = {
        "type": "call-webhook",
        "url": f"https://{_NAME.sub('-', name).strip('-').lower() or block_id}.invalid/",
        "method": settings.get("method") or "POST",
        "body": body,
    }
    if headers := settings.get("headers"):
        data["headers"] = {header: {"env": variable(name, header)} for header in headers}
    return [Entry(data, tuple(remarks))]


def _run_deployment(action: Action, desk: Desk) -> list[Entry]:
    if action.get("schedule_after"):
        raise NoEquivalent("there is no waiting before an action (`schedule_after`)")
    remarks: list[str] = []
    parameters = desk.value(action.get("parameters") or {}, remarks)
    data = {"type": "run-flow", "flow": desk.catalogue.flow(action.get("deployment_id"))}
    if parameters:
        data["parameters"] = parameters
    if action.get("job_variables"):
        remarks.append("Its job variables are left out: give them to the deployment.")
    return [Entry(data, tuple(dict.fromkeys(remarks)))]


def _cancel_run(action: Action, desk: Desk) -> list[Entry]:
    remark = "Cancels a run of this engine; one that runs in Prefect goes on: call its API, or cancel it there."
    run = desk.text("{{ flow_run.id }}", [])
    return [Entry({"type": "cancel-run", "run": run}, (remark,))]


def _change_state(action: Action, desk: Desk) -> list[Entry]:
    if str(action.get("state")).upper() not in ("CANCELLED", "CANCELLING"):
        raise NoEquivalent(f"a run's state can not be set to {action.get('state')}: only cancelled (cancel-run)")
    return _cancel_run(action, desk)


def _on_flow(kind: str) -> Way:
    def way(action: Action, desk: Desk) -> list[Entry]:
        remark = "The schedule of the flow here, which has none yet; that of the deployment in Prefect is left alone."
        return [Entry({"type": kind, "flow": desk.catalogue.flow(action.get("deployment_id"))}, (remark,))]

    return way


def _on_queue(kind: str) -> Way:
    return lambda action, desk: [Entry({"type": kind, "queue": desk.catalogue.queue(action.get("work_queue_id"))})]


def _on_pool(kind: str) -> Way:
    return lambda action, desk: [
        Entry({"type": kind, "queue": queue}) for queue in desk.catalogue.pool(action.get("work_pool_id"))
    ]


def _on_automation(kind: str) -> Way:
    return lambda action, desk: [
        Entry({"type": kind, "automation": desk.catalogue.automation(action.get("automation_id"))})
    ]


_WAYS: Mapping[str, Way] = MappingProxyType({
    "do-nothing": lambda action, desk: [],
    "send-notification": _send_notification,
    "call-webhook": _call_webhook,
    "run-deployment": _run_deployment,
    "pause-deployment": _on_flow("pause-flow"),
    "resume-deployment": _on_flow("resume-flow"),
    "pause-work-queue": _on_queue("pause-queue"),
    "resume-work-queue": _on_queue("resume-queue"),
    "pause-work-pool": _on_pool("pause-queue"),
    "resume-work-pool": _on_pool("resume-queue"),
    "pause-automation": _on_automation("pause-automation"),
    "resume-automation": _on_automation("resume-automation"),
    "cancel-flow-run": _cancel_run,
    "change-flow-run-state": _change_state,
})  # fmt: skip

_NONE: Mapping[str, str] = MappingProxyType({
    "suspend-flow-run": "runs can not be suspended: cancel-run ends one, pause-queue keeps others from beginning",
    "resume-flow-run": "runs can not be suspended, nor resumed",
    "delete-flow-run": "runs are not deleted by actions",
    "declare-incident": "there are no incidents: send-notification tells people",
})  # fmt: skip


REFERENCES: Mapping[str, str] = MappingProxyType({
    "block_document_id": "block_documents",
    "deployment_id": "deployments",
    "work_queue_id": "work_queues",
    "work_pool_id": "work_pools",
})  # fmt: skip
"""Fields of actions that name something, and the collection of Prefect's API that it is in."""
