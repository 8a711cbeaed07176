"""`/metrics`: every stage of the engine for Prometheus.

Counters are this process's, since its start. Gauges that come from the database are those of all processes, from a look
that is at most a second old. Labels have few values: kinds and states, never names of hosts, resources or automations.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from tocsin.schemas.moments import SECOND
from tocsin.settings import ROLES
from tocsin.store.histogram import Histogram
from tocsin.store.vitals import Vitals

router = APIRouter(tags=["health"])

LOOK_S = 1.0
"""How old the look at the database may be."""

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
    ingest: Answered = request.app.state.ingest
    families = [*_of_process(app, ingest), *_of_parts(app), *([] if vitals is None else _of_database(vitals))]
    families.append(_gauge("tocsin_database_up", "Whether the database answers.", int(vitals is not None)))
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Given(families))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


class _Given:
    """Fits Prometheus's collectors."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        """Return what was given."""
        return self._families

    def describe(self) -> list[Any]:
        """Return nothing: what is collected once needs no check for names that are taken."""
        return []


Labelled = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, about: str, value: float) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, value: float) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, about, value=value)


def _labelled(family: Any, values: Labelled) -> Any:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _gauges(name: str, about: str, labels: tuple[str, ...], values: Labelled) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _labelled(GaugeMetricFamily(name, about, labels=labels), values)


def _counters(name: str, about: str, labels: tuple[str, ...], values: Labelled) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _labelled(CounterMetricFamily(name, about, labels=labels), values)


def _histograms(name: str, about: str, label: str, values: Mapping[str, Histogram]) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, about, labels=(label,) if label else ())
    for value, histogram in values.items():
        family.add_metric((value,) if label else (), buckets=list(histogram.buckets()), sum_value=histogram.sum)
    return family


def _of_process(app: App, ingest: Answered) -> Iterator[Any]:
    """Return what came in, and what was judged and done here."""
    roles = ",".join(role for role in ROLES if role in app.roles)
    yield _gauges("tocsin_info", "What runs here.", ("version", "roles"), [((__version__, roles), 1)])
    yield _counters("tocsin_ingest_requests", "Requests that brought events, by the status of the answer.", ("status",),
                    [((str(status),), count) for status, count in sorted(dict(ingest.answered).items())])  # fmt: skip
    yield _counter("tocsin_events_accepted", "Events of requests that were accepted.", app.recorder.accepted)
    duplicates = app.recorder.duplicates if isinstance(app.recorder, Recorder) else 0
    yield _counter("tocsin_events_duplicate", "Accepted events that were known already.", duplicates)
    yield _gauge("tocsin_events_waiting", "Events that wait to become durable.", app.recorder.waiting)
    recorded = sum(writer.events for writer in _writers(app).values())
    yield _counter("tocsin_events_recorded", "Events appended to the log here, the engine's own too.", recorded)
    yield _counter("tocsin_events_judged", "Events judged here, once for each shard.", app.shards.judged)
    yield _counters("tocsin_firings", "Firings of automations judged here.", ("verdict", "mode"),
                    list(dict(app.verdicts.fired).items()))  # fmt: skip
    yield _counter("tocsin_loops_stopped", "Loops of automations that were stopped.", app.verdicts.trouble["loop"])
    yield _counter("tocsin_judge_errors", "Times an automation failed to judge.", app.verdicts.trouble["error"])
    outcomes = app.dispatcher.outcomes
    yield _counters("tocsin_action_attempts", "Attempts at actions, by what came of them.", ("type", "outcome"),
                    list(dict(outcomes.ended).items()))  # fmt: skip
    yield _histograms("tocsin_action_seconds", "How long attempts at actions took.", "", {"": outcomes.seconds})


def _of_parts(app: App) -> Iterator[Any]:
    """Return how the parts of this process are."""
    writers = _writers(app)
    yield _histograms("tocsin_commit_seconds", "How long groups of units took with their commit.", "writer",
                      {name: writer.seconds for name, writer in writers.items()})  # fmt: skip
    yield _histograms("tocsin_commit_units", "How many units shared a commit.", "writer",
                      {name: writer.units for name, writer in writers.items()})  # fmt: skip
    yield _gauges("tocsin_writer_waiting_units", "Units that wait for the writer.", ("writer",),
                  [((name,), writer.waiting) for name, writer in writers.items()])  # fmt: skip
    sizes: dict[str, list[int]] = {kind: [0, 0, 0] for kind in ("host", "channel", "own")}
    for target, (running, waiting) in app.dispatcher.lanes().items():
        lanes = sizes[target.partition("/")[0]]
        lanes[0], lanes[1], lanes[2] = lanes[0] + 1, lanes[1] + running, lanes[2] + waiting
    yield _gauges("tocsin_lanes", "Targets at which actions are under way.", ("target",),
                  [((kind,), lanes[0]) for kind, lanes in sizes.items()])  # fmt: skip
    yield _gauges("tocsin_lane_actions", "Actions in the lanes of targets.", ("target", "state"),
                  [((kind, state), lanes[place]) for kind, lanes in sizes.items()
                   for place, state in ((1, "running"), (2, "waiting"))])  # fmt: skip
    yield _gauge("tocsin_shards_owned", "Shards that are judged here.", len(app.shards.owned))
    yield _gauge("tocsin_runs_followed", "Runs of flows that this process follows.", app.worker.running)
    yield _gauges("tocsin_definitions", "Definitions in force.", ("kind",),
                  [((kind,), len(app.definitions.entries(kind))) for kind in _KINDS])  # fmt: skip
    yield _gauge("tocsin_parts_in_trouble", "Parts that do not work now.", sum(map(bool, app.watch.inside().trouble)))
    heartbeat = app.heartbeat
    if heartbeat is not None:
        yield _counter("tocsin_heartbeats", "Heartbeats that the outside check has taken.", heartbeat.sent)


def _writers(app: App) -> dict[str, Any]:
    return {"log": app.writer} | ({} if app.judging is app.writer else {"judging": app.judging})


def _of_database(vitals: Vitals) -> Iterator[Any]:
    """Return how all processes are doing together."""
    lag_us = 0 if vitals.unjudged_us is None else max(0, vitals.at_us - vitals.unjudged_us)
    yield _counter("tocsin_log_events", "Events in the log since its beginning.", vitals.seq)
    yield _gauge("tocsin_log_age_seconds", "How long ago events could be received.",
                 max(0, vitals.at_us - vitals.received_us) / SECOND if vitals.received_us else 0)  # fmt: skip
    yield _gauge("tocsin_lag_seconds", "Age of the oldest event that was not judged.", lag_us / SECOND)
    yield _gauge("tocsin_judging_behind_seconds", "How late judging is, of events and of silence.",
                 behind_us(vitals) / SECOND)  # fmt: skip
    yield _gauge("tocsin_unjudged_events", "Events that were not judged.", max(0, vitals.seq - vitals.judged_seq)
                 if vitals.unjudged_us is not None else 0)  # fmt: skip
    if vitals.next_us is not None:
        yield _gauge("tocsin_next_deadline_timestamp_seconds", "When the next moment is due.", vitals.next_us / SECOND)
    overdue_us = 0 if vitals.next_us is None else max(0, vitals.at_us - vitals.next_us)
    yield _gauge("tocsin_deadline_overdue_seconds", "How long the next moment has been due.", overdue_us / SECOND)
    yield _gauges("tocsin_intents", "Actions to be done, being done, and failed for good.", ("state",),
                  [((state,), count) for state, count in vitals.intents.items()])  # fmt: skip
    late_us = 0 if vitals.due_us is None else max(0, vitals.at_us - vitals.due_us)
    yield _gauge(
        "tocsin_intents_late_seconds", "How long an action has been due that nobody performs.", late_us / SECOND
    )
    yield _gauge("tocsin_open_misses", "Misses that are not resolved.", vitals.open_misses)
    yield _gauges("tocsin_runs", "Runs of flows that have not ended.", ("state",),
                  [((state,), count) for state, count in vitals.runs.items()])  # fmt: skip
    yield _gauge("tocsin_queues_paused", "Queues that are paused.", len(vitals.paused))
    alive = [((role,), sum(role in one.roles for one in vitals.processes)) for role in ROLES]
    yield _gauges("tocsin_processes", "Processes that are alive, by role.", ("role",), alive)
    yield _gauge("tocsin_shards", "Shards among which automations are divided.", len(vitals.shards))
    free = sum(shard.owner is None for shard in vitals.shards) if len(vitals.shards) > 1 else 0
    yield _gauge("tocsin_shards_unowned", "Shards that nobody judges.", free)
    yield _counter("tocsin_outages", "Outages of our own (law S2).", vitals.outages)
    yield _counter("tocsin_bus_refusals", "Entries of the bus that were no events.", vitals.refusals)
    yield _gauge("tocsin_database_bytes", "Size of the database.", vitals.size_bytes)
