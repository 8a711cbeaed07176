"""Spans for OpenTelemetry: an event received, recorded, judged and acted upon is one trace.

They are exported when the extra `otel` is installed and `OTEL_EXPORTER_OTLP_ENDPOINT` says where to; everything else is
configured by OpenTelemetry's own variables. Attributes are ids and counts, never what an event or an answer contains.
Judging and acting have spans with derived ids (`schemas.trace`), so whoever does it, the parts fit together.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tocsin.clock import Clock
from tocsin.schemas.moments import Micros
from tocsin.schemas.trace import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables that say where spans go."""

FLUSH_S = 3.0
"""How long a stop waits for the last spans to be exported."""

_NS = 1_000  # in a microsecond


def tracing_of(env: Mapping[str, str], clock: Clock, *, version: str, process: str) -> Tracing | None:
    """Return what exports spans, None when the environment asks for none; `process` names this one."""
    if not any(env.get(name) for name in ENDPOINTS) or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        log.warning("no traces are exported: %s is set, and needs pip install 'tocsin[otel]'", ENDPOINTS[0])
        return None
    return Tracing(clock, BatchSpanProcessor(OTLPSpanExporter()), version=version, process=process)


class Tracing:
    """Makes spans and hands them to a processor; its methods may be called in any thread."""

    def __init__(self, clock: Clock, processor: SpanProcessor, *, version: str, process: str) -> None:
        """Prepare; `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_TRACES_SAMPLER` are heeded."""
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

        given = self._given = threading.local()

        class Ids(IdGenerator):
            """Gives the ids that are derived, and random ones where none is."""

            _random = RandomIdGenerator()

            def generate_trace_id(self) -> int:
                return getattr(given, "trace_id", None) or self._random.generate_trace_id()

            def generate_span_id(self) -> int:
                return getattr(given, "span_id", None) or self._random.generate_span_id()

        ours = {"service.name": "tocsin", "service.version": version, "service.instance.id": process}
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())  # what the environment says wins
        self._clock = clock
        self._provider = TracerProvider(resource=resource, id_generator=Ids())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tocsin", version)

    def close(self) -> None:
        """Export what is left, for a few seconds at most."""
        self._provider.force_flush(int(FLUSH_S * 1000))
        self._provider.shutdown()

    @contextmanager
    def receiving(self, cause: Span | None, *, how: str, began_us: Micros, events: int) -> Iterator[str]:
        """Span a request that brings events, and what makes them durable; yields the `traceparent` that they keep."""
        received = self._start(f"receive {how}", cause, began_us=began_us, ids={"tocsin.events": events}, kind="SERVER")
        stands = _span(received)
        recorded = self._start("record", stands, began_us=self._clock.now_us(), ids={})
        try:
            yield str(stands)
        except BaseException as error:
            recorded.set_attribute("error.type", type(error).__name__)
            self._end(recorded, failed=True)
            self._end(received, failed=True)
            raise
        self._end(recorded)
        self._end(received)

    def judged(self, span: Span, cause: Span | None, *, began_us: Micros, ids: Mapping[str, Any]) -> None:
        """Note a firing; `cause` is where the event that decided stands in a trace."""
        self._end(self._start("judge", cause, began_us=began_us, ids=ids, derived=span))

    def acted(
        self, span: Span, parent: Span, *, between_us: tuple[Micros, Micros], failed: bool, ids: Mapping[str, Any]
    ) -> None:
        """Note an attempt at an action."""
        began_us, ended_us = between_us
        made = self._start("act", parent, began_us=began_us, ids=ids, derived=span, kind="CLIENT")
        self._end(made, failed=failed, ended_us=ended_us)

    def _start(
        self, name: str, parent: Span | None, *, began_us: Micros, ids: Mapping[str, Any], derived: Span | None = None,
        kind: str = "INTERNAL",
    ) -> Any:  # fmt: skip
        from opentelemetry.context import Context
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            TraceFlags,
            set_span_in_context,
        )

        context = Context()
        if parent is not None:
            place = SpanContext(
                int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=TraceFlags(parent.flags)
            )
            context = set_span_in_context(NonRecordingSpan(place), context)
        if derived is not None:
            self._given.trace_id, self._given.span_id = int(derived.trace_id, 16), int(derived.span_id, 16)
        try:
            return self._tracer.start_span(
                name, context, kind=SpanKind[kind], attributes=dict(ids), start_time=began_us * _NS
            )
        finally:
            self._given.trace_id = self._given.span_id = None

    def _end(self, made: Any, *, failed: bool = False, ended_us: Micros | None = None) -> None:
        if failed:
            from opentelemetry.trace import Status, StatusCode

            made.set_status(Status(StatusCode.ERROR))
        made.end(end_time=(self._clock.now_us() if ended_us is None else ended_us) * _NS)


def _span(made: Any) -> Span:
    place = made.get_span_context()
    return Span(f"{place.trace_id:032x}", f"{place.span_id:016x}", int(place.trace_flags))
