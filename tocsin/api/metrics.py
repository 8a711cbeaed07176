"""`/metrics`: every stage of the engine for Prometheus.

Counters are this process's, since its start. Gauges that come from the database are those of all processes, from a look
that is at most a second old. Labels have few values: kinds and states, never names of hosts, resources or automations.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response

from tocsin import __version__
from tocsin.api.answers import Json
from tocsin.api.query import Running
from tocsin.app import App
from tocsin.engine.diagnosis import behind_us
from tocsin.engine.recorder import Recorder
from tocsin.errors import Unavailable
from tocsin.schemas.moments import SECOND, Micros
from tocsin.settings import ROLES
from tocsin.store.histogram import Histogram
from tocsin.store.vitals import Vitals
from tocsin.store.writer import Writer

router = APIRouter(tags=["health"])

LOOK_S = 1.0
"""How old the look at the database may be."""

_TARGETS = ("host", "channel", "own")
_KINDS = ("automation", "flow", "source", "channel", "queue")


class Answered(Protocol):
    """What counts the answers to requests that bring events."""

    @property
    def answered(self) -> Mapping[int, int]: ...


@router.get("/metrics", response_class=Response)
async def metrics(app: Running, request: Request) -> Response:
    """Return what Prometheus scrapes; needs the extra `metrics`."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import choose_encoder
    except ModuleNotFoundError:
        message = "metrics need the Prometheus client: pip install 'tocsin[metrics]', then restart the server"
        return Json({"error": message, "errors": []}, 501)
    try:
        vitals: Vitals | None = await app.watch.look(most_s=LOOK_S)
    except Unavailable:  # what the process counts itself is told all the same
        vitals = None
    page = _Page()
    _of_process(page, app, request.app.state.ingest)
    _of_parts(page, app)
    page.gauge("tocsin_database_up", "Whether the database answers.", vitals is not None)
    if vitals is not None:
        _of_database(page, vitals)
    await _of_bus(page, app)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(page)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


Values = float | Mapping[str, float] | Mapping[tuple[str, str], float]
"""One value, or one for each value of a label, or of two."""


class _Page:
    """Collects what is to be shown; fits Prometheus's collectors."""

    def __init__(self) -> None:
        self._families: list[Any] = []

    def collect(self) -> list[Any]:
        """Return what was collected."""
        return self._families

    def describe(self) -> list[Any]:
        """Return nothing: what is collected once needs no check for names that are taken."""
        return []

    def gauge(self, name: str, about: str, values: Values, *, by: tuple[str, ...] = ()) -> None:
        """Show what goes up and down."""
        from prometheus_client.core import GaugeMetricFamily

        self._add(GaugeMetricFamily(name, about, labels=by), values)

    def counter(self, name: str, about: str, values: Values, *, by: tuple[str, ...] = ()) -> None:
        """Show what goes up only; `_total` is put behind its name."""
        from prometheus_client.core import CounterMetricFamily

        self._add(CounterMetricFamily(name, about, labels=by), values)

    def histograms(self, name: str, about: str, values: Mapping[str, Histogram], *, by: tuple[str, ...] = ()) -> None:
        """Show how large things were."""
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(name, about, labels=by)
        for label, histogram in values.items():
            family.add_metric((label,) if by else (), buckets=list(histogram.buckets()), sum_value=histogram.sum)
        self._families.append(family)

    def _add(self, family: Any, values: Values) -> None:
        if isinstance(values, Mapping):
            for labels, value in values.items():
                family.add_metric((labels,) if isinstance(labels, str) else labels, value)
        else:
            family.add_metric((), values)
        self._families.append(family)


def _of_process(page: _Page, app: App, ingest: Answered) -> None:
    """Show what came in, and what was judged and done here."""
    roles = ",".join(role for role in ROLES if role in app.roles)
    page.gauge("tocsin_info", "What runs here.", {(__version__, roles): 1}, by=("version", "roles"))
    answered = {str(status): count for status, count in sorted(dict(ingest.answered).items())}
    page.counter("tocsin_ingest_requests", "Requests that brought events, by answer.", answered, by=("status",))
    page.counter("tocsin_events_accepted", "Events of requests that were accepted.", app.recorder.accepted)
    duplicates = app.recorder.duplicates if isinstance(app.recorder, Recorder) else 0
    duplicates += app.intake.duplicates if app.intake is not None else 0
    page.counter("tocsin_events_duplicate", "Events that were known already.", duplicates)
    page.gauge("tocsin_events_waiting", "Events that wait to become durable.", app.recorder.waiting)
    recorded = sum(writer.events for writer in _writers(app).values())
    page.counter("tocsin_events_recorded", "Events appended to the log here, the engine's own too.", recorded)
    page.counter("tocsin_events_judged", "Events judged here, once for each shard.", app.shards.judged)
    verdicts, outcomes = app.verdicts, app.dispatcher.outcomes
    page.counter("tocsin_firings", "Firings judged here.", dict(verdicts.fired), by=("verdict", "mode"))
    page.counter("tocsin_loops_stopped", "Loops of automations that were stopped.", verdicts.trouble["loop"])
    page.counter("tocsin_judge_errors", "Times an automation failed to judge.", verdicts.trouble["error"])
    attempts = dict(outcomes.ended)
    page.counter("tocsin_action_attempts", "Attempts at actions, by outcome.", attempts, by=("type", "outcome"))
    page.histograms("tocsin_action_seconds", "How long attempts at actions took.", {"": outcomes.seconds})


def _of_parts(page: _Page, app: App) -> None:
    """Show how the parts of this process are."""
    writers, of = _writers(app), ("writer",)
    seconds = {name: writer.seconds for name, writer in writers.items()}
    page.histograms("tocsin_commit_seconds", "How long groups of units took with their commit.", seconds, by=of)
    units = {name: writer.units for name, writer in writers.items()}
    page.histograms("tocsin_commit_units", "How many units shared a commit.", units, by=of)
    waiting = {name: writer.waiting for name, writer in writers.items()}
    page.gauge("tocsin_writer_waiting_units", "Units that wait for a writer.", waiting, by=of)
    _lanes(page, app)
    page.gauge("tocsin_shards_owned", "Shards that are judged here.", len(app.shards.owned))
    page.gauge("tocsin_runs_followed", "Runs of flows that this process follows.", app.worker.running)
    definitions = {kind: len(app.definitions.entries(kind)) for kind in _KINDS}
    page.gauge("tocsin_definitions", "Definitions in force.", definitions, by=("kind",))
    troubled = sum(map(bool, app.watch.inside().trouble))
    page.gauge("tocsin_parts_in_trouble", "Parts that do not do their work now.", troubled)
    if app.heartbeat is not None:
        page.counter("tocsin_heartbeats", "Heartbeats that the outside check has taken.", app.heartbeat.sent)


def _writers(app: App) -> dict[str, Writer]:
    return {"log": app.writer} | ({} if app.judging is app.writer else {"judging": app.judging})


def _lanes(page: _Page, app: App) -> None:
    lanes = dict.fromkeys(_TARGETS, 0)
    actions = {(target, state): 0 for target in _TARGETS for state in ("running", "waiting")}
    for name, (running, waiting) in app.dispatcher.lanes().items():
        target = name.partition("/")[0]
        lanes[target] += 1
        actions[target, "running"] += running
        actions[target, "waiting"] += waiting
    page.gauge("tocsin_lanes", "Targets at which actions are under way.", lanes, by=("target",))
    page.gauge("tocsin_lane_actions", "Actions in the lanes of targets.", actions, by=("target", "state"))


def _of_database(page: _Page, seen: Vitals) -> None:
    """Show how all processes are doing together."""
    page.counter("tocsin_log_events", "Events in the log since its beginning.", seen.seq)
    page.gauge("tocsin_log_age_seconds", "How long ago events could be received.", _ago(seen, seen.received_us or None))
    page.gauge("tocsin_lag_seconds", "Age of the oldest event that was not judged.", _ago(seen, seen.unjudged_us))
    behind_s = behind_us(seen) / SECOND
    page.gauge("tocsin_judging_behind_seconds", "How late judging is, of events and of silence.", behind_s)
    unjudged = seen.seq - seen.judged_seq if seen.unjudged_us is not None else 0
    page.gauge("tocsin_unjudged_events", "Events that were not judged.", unjudged)
    if seen.next_us is not None:
        page.gauge("tocsin_next_deadline_timestamp_seconds", "When the next moment is due.", seen.next_us / SECOND)
    page.gauge("tocsin_deadline_overdue_seconds", "Since when the next moment has been due.", _ago(seen, seen.next_us))
    page.gauge("tocsin_intents", "Actions to be done, being done, failed for good.", seen.intents, by=("state",))
    page.gauge("tocsin_intents_late_seconds", "Since when an action that waits has been due.", _ago(seen, seen.due_us))
    page.gauge("tocsin_open_misses", "Misses that are not resolved.", seen.open_misses)
    page.gauge("tocsin_runs", "Runs of flows that have not ended.", seen.runs, by=("state",))
    page.gauge("tocsin_queues_paused", "Queues that are paused.", len(seen.paused))
    alive = {str(role): sum(role in one.roles for one in seen.processes) for role in ROLES}
    page.gauge("tocsin_processes", "Processes that are alive, by role.", alive, by=("role",))
    page.gauge("tocsin_shards", "Shards among which automations are divided.", len(seen.shards))
    free = sum(shard.owner is None for shard in seen.shards) if len(seen.shards) > 1 else 0
    page.gauge("tocsin_shards_unowned", "Shards that nobody judges.", free)
    page.counter("tocsin_outages", "Outages of our own (law S2).", seen.outages)
    page.counter("tocsin_bus_refusals", "Entries of the bus that were no events.", seen.refusals)
    page.gauge("tocsin_database_bytes", "Size of the database.", seen.size_bytes)


def _ago(seen: Vitals, moment_us: Micros | None) -> float:
    """Return how long a moment is past, in seconds; 0 when it is none, or still to come."""
    return 0.0 if moment_us is None else max(0, seen.at_us - moment_us) / SECOND


async def _of_bus(page: _Page, app: App) -> None:
    """Show what is in the bus, as far as this process knows it."""
    if app.intake is not None:
        figures = app.intake.figures
    elif app.publisher is not None:
        try:
            figures = await app.publisher.figures()
        except Unavailable:
            page.gauge("tocsin_bus_up", "Whether the bus answers.", 0)
            return
    else:
        return
    up = app.intake is None or not app.intake.problem
    page.gauge("tocsin_bus_up", "Whether the bus answers.", up)
    page.gauge("tocsin_bus_entries", "Entries in the stream of the bus.", figures.length)
    page.gauge("tocsin_bus_pending_entries", "Entries that are delivered and not recorded.", figures.pending)
    page.gauge("tocsin_bus_unread_entries", "Entries that are not delivered yet.", figures.unread)
    oldest_us = app.clock.now_us() if figures.oldest_us is None else figures.oldest_us
    oldest_s = max(0, app.clock.now_us() - oldest_us) / SECOND
    page.gauge("tocsin_bus_oldest_seconds", "Age of the oldest entry that is not recorded.", oldest_s)
