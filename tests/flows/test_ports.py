"""Runs and queues as actions ask for them: in the caller's transaction, checked, and once."""

from __future__ import annotations

import pytest

from tests.flows.bench import Bench
from tests.servers import BOTH
from tocsin.actions.ports import Cause, Queues, Runs
from tocsin.errors import NotFound
from tocsin.flows.ports import QueuePort, RunPort
from tocsin.flows.worker import Catalog
from tocsin.store import queues

DATABASES = BOTH

CAUSE = Cause("late", "firing-1", ("first", "late"))


@pytest.fixture
def run_port(bench: Bench) -> RunPort:
    return RunPort(Catalog(bench.flows.get))


def test_they_fit_the_ports_of_actions(run_port: RunPort) -> None:
    fits: tuple[Runs, Queues] = (run_port, QueuePort(bool))
    assert fits


def test_a_run_knows_who_asked_for_it_and_fills_in_the_flow_s_parameters(bench: Bench, run_port: RunPort) -> None:
    bench.flow(command=["true"], queue="nightly", parameters={"day": "today", "rows": 1})
    for _ in range(2):  # judged or performed twice: one run
        details = bench.store.do(run_port.start("flow", run_id="r1", parameters={"rows": 2}, cause=CAUSE))
        assert details["run"] == "r1"
    run = bench.run()
    assert (run.queue, run.parameters) == ("nightly", {"day": "today", "rows": 2})
    assert (run.automation, run.firing, run.chain) == ("late", "firing-1", ("first", "late"))
    assert bench.told().count("pending") == 1


def test_a_flow_that_is_not_declared_can_not_be_run(bench: Bench, run_port: RunPort) -> None:
    with pytest.raises(NotFound, match="declare it under `flows`"):
        bench.store.do(run_port.start("flow", run_id="r1", parameters={}))


def test_a_run_is_cancelled_in_the_name_of_who_asks(bench: Bench, run_port: RunPort) -> None:
    bench.create(queue="paused")
    details = bench.store.do(run_port.cancel("r1", cause=CAUSE))
    assert details == {"run": "r1", "state": "cancelled"}
    assert bench.run().cancelled_by == "automation/late"
    with pytest.raises(NotFound):
        bench.store.do(run_port.cancel("r9"))


def test_a_queue_is_paused_in_the_name_of_who_asks(bench: Bench) -> None:
    port = QueuePort({"nightly"}.__contains__)
    assert bench.store.do(port.pause("nightly", cause=CAUSE))["changed"]
    assert bench.store.read(queues.states)["nightly"]["paused_by"] == "automation/late"
    assert bench.store.told()[-1].chain == ("first", "late")
    assert bench.store.do(port.resume("nightly")) == {"queue": "nightly", "paused": False, "changed": True}


def test_a_queue_that_is_neither_declared_nor_used_can_not_be_paused(bench: Bench) -> None:
    port = QueuePort(set[str]().__contains__)
    with pytest.raises(NotFound, match="there is no queue 'nightly'"):
        bench.store.do(port.pause("nightly"))
    bench.create(queue="nightly", flow="gone")
    assert bench.store.do(port.pause("nightly"))["paused"]
