"""The account: what was acknowledged, judged and done, held against what should have been. Zero lost, zero doubled.

Each finding has a kind, by which tests tell what was found, and says what it is about. The numbers are for people.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from tests.crash.judges import Judged, Times, by_judge, by_model
from tests.crash.ordeal import LATENESS_S, SETTLE_S, Ordeal
from tests.crash.records import Records, read
from tests.crash.senders import Event
from tocsin.schemas.firing import Firing, Outcome, Verdict
from tocsin.schemas.moments import SECOND
from tocsin.store.database import Database
from tocsin.store.intents import intent_id

SHOWN = 5
"""So many findings of a kind are told."""

TIMES = Times(lateness_us=round(LATENESS_S * SECOND), settle_us=round(SETTLE_S * SECOND))
DEFINITIONS = Path(__file__).parent / "definitions.yaml"


class Telling(Protocol):
    """What senders know at the end."""

    acknowledged: dict[str, Event]
    batches: list[list[str]]
    complaints: list[str]
    requests: int
    resent: int
    repeated: int
    refused: int


@dataclass
class Account:
    """Findings by kind, and numbers by name."""

    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, object] = field(default_factory=dict)

    def claim(self, kind: str, wrong: Iterable[object]) -> None:
        """Note what is wrong, if anything is."""
        if found := [str(one) for one in wrong]:
            self.findings[kind] += found

    def told(self) -> str:
        """Return the account for people."""
        lines = [f"  {name:<28} {value}" for name, value in self.numbers.items()]
        for kind, found in self.findings.items():
            lines.append(f"WRONG: {kind}: {len(found)}")
            lines += [f"    {one[:2_000]}" for one in found[:SHOWN]]
        lines.append("zero lost, zero doubled" if not self.findings else "THE ACCOUNT DOES NOT COME OUT EVEN")
        return "\n".join(lines)


def account_for(ordeal: Ordeal) -> Account:
    """Account for everything of an ordeal."""
    database = Database(ordeal.home.database)
    try:
        records = database.read(read)
    finally:
        database.close()
    account = Account()
    account.numbers |= {"kills": ordeal.plan.kills, "how": dict(sorted(ordeal.ends.items()))}
    _server(account, ordeal, records)
    of_events(account, ordeal.sent, records)
    of_log(account, records)
    of_firings(account, records, TIMES)
    of_model(account, records, TIMES, definitions=DEFINITIONS)
    of_intents(account, records)
    of_webhooks(account, ordeal.delivered, records)
    of_own_effects(account, ordeal.ran, records)
    of_what_was_told(account, records)
    return account


def _server(account: Account, ordeal: Ordeal, records: Records) -> None:
    account.claim("restless", [] if ordeal.rested else ["what was to be judged and done did not come to an end"])
    account.claim("unanswered", ordeal.unanswered)
    account.claim("exit", [ordeal.exit_status] if ordeal.exit_status else [])
    account.claim("sqlite", [] if records.integrity == "ok" else [records.integrity])
    lines = ordeal.home.log.read_text().splitlines()
    account.claim("logged", [line for line in lines if "ERROR" in line or "Error" in line or "Traceback" in line])
    account.numbers |= {"outages": len(records.outages), "warnings": sum(" WARNING " in line for line in lines)}


def of_events(account: Account, sent: Telling, records: Records) -> None:
    """Laws E2 and E3: what was acknowledged is there, once, as it was sent, and nothing else is."""
    kept = [arrival for arrival in records.arrivals if arrival.event.source == ""]
    times = Counter(arrival.event.id for arrival in kept)
    account.claim("events lost", [name for name in sent.acknowledged if not times[name]])
    account.claim("events doubled", [name for name, count in times.items() if count > 1])
    account.claim("events invented", [name for name in times if name not in sent.acknowledged])
    account.claim("events changed", [
        (arrival.event.id, field) for arrival in kept
        for field, value in sent.acknowledged.get(str(arrival.event.id), {}).items()
        if field != "occurred" and getattr(arrival.event, field) != value
    ])  # fmt: skip
    received = {arrival.event.id: arrival.received_us for arrival in kept}
    account.claim("batches torn", [ids for ids in sent.batches if len({received.get(one) for one in ids}) > 1])
    account.claim("receipts", sent.complaints)
    account.numbers |= {
        "events acknowledged": len(sent.acknowledged), "requests": sent.requests, "sent again, unanswered": sent.resent,
        "sent again, acknowledged": sent.repeated, "refused for a while": sent.refused,
    }  # fmt: skip


def of_log(account: Account, records: Records) -> None:
    """Law E1, and what the log promises."""
    received = [(arrival.received_us, arrival.seq) for arrival in records.arrivals]
    account.claim("received goes back", [pair for pair in pairwise(received) if pair[0] > pair[1]])
    places = {(arrival.event.source, str(arrival.event.id)): arrival.seq for arrival in records.arrivals}
    account.claim("identities", set(places.items()) ^ set(records.identities.items()))
    account.claim("head", [] if max(places.values()) == records.head_seq else [records.head_seq])
    behind = [cursor for cursor in records.cursors.values() if cursor.seq != records.head_seq]
    account.claim("not judged", behind)
    account.numbers["events in the log"] = len(records.arrivals)


def of_firings(account: Account, records: Records, times: Times) -> Judged:
    """Laws F1, F2: firings, states and decisions are what one judge makes of the log that was never killed.

    Returns what that judge says.
    """
    wanted = by_judge(records, times)
    should, did = {one.id: one for one in wanted.firings}, {one.id: one for one in records.firings}
    account.claim("firings lost", [one for key, one in should.items() if key not in did])
    account.claim("firings invented", [one for key, one in did.items() if key not in should])
    account.claim("firings doubled", [key for key, n in Counter(one.id for one in records.firings).items() if n > 1])
    account.claim("firings changed", [(did[key], one) for key, one in should.items() if did.get(key, one) != one])
    account.claim("states", _differing(wanted.stored, wanted.states))
    riding: dict[int, list[Any]] = defaultdict(list)
    alone = []
    for decision in wanted.decisions:
        kept = json.loads(json.dumps(decision))
        if decision.seq is None:
            alone.append(kept)
        else:
            riding[decision.seq].append(kept)
    account.claim("decisions of events", _differing(records.riding, dict(riding)))
    texts = [sorted(map(json.dumps, part)) for part in (records.alone, alone)]
    account.claim("decisions of moments", [] if texts[0] == texts[1] else [set(texts[0]) ^ set(texts[1])])
    errors = [one for part in (*records.riding.values(), records.alone) for one in part if one[3] == Outcome.ERROR]
    account.claim("judge failed", errors)
    for verdict in Verdict:
        account.numbers[f"firings {verdict}"] = sum(one.verdict is verdict for one in records.firings)
    return wanted


def _differing(found: dict[Any, Any], wanted: dict[Any, Any]) -> list[object]:
    return [
        (key, found.get(key), wanted.get(key)) for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)
    ]


def of_model(account: Account, records: Records, times: Times, *, definitions: Path) -> None:
    """The laws themselves, as the brute-force model reads them. Repeats that an outage moves to one moment are one."""
    for name, said, fired in by_model(records, times, definitions):
        account.claim("firings lost, says the model", [(name, row) for row in {*said} - {*fired}])
        account.claim("firings invented, says the model", [(name, row) for row in {*fired} - {*said}])


def of_intents(account: Account, records: Records) -> None:
    """Laws F2 and F4: every firing has exactly its intents, and each of them has succeeded, once."""
    wanted = {
        intent_id(firing.id, position): (firing.id, action.type)
        for firing in records.firings
        for position, action in enumerate(_actions(firing, records))
    }
    kept = {row["id"]: (row["firing"], row["type"]) for row in records.intents}
    account.claim("intents", _differing(kept, wanted))
    account.claim("not performed", [dict(row) for row in records.intents if row["state"] != "succeeded"])
    succeeded = Counter(row["intent"] for row in records.attempts if row["outcome"] == "succeeded")
    doubts = Counter(row["intent"] for row in records.attempts if row["outcome"] == "interrupted")
    account.claim("performed again", [
        (key, succeeded[key], doubts[key]) for key in kept if not 1 <= succeeded[key] <= 1 + doubts[key]
    ])  # fmt: skip
    account.claim("failed", [dict(row) for row in records.attempts if row["outcome"] == "failed"])
    account.numbers["intents"] = len(kept)
    account.numbers["in flight at a kill"] = sum(row["outcome"] == "interrupted" for row in records.attempts)


def _actions(firing: Firing, records: Records) -> Any:
    spec = records.versions[firing.automation][1]
    return spec.actions_on_resolve if firing.verdict is Verdict.RESOLVED else spec.actions


def of_webhooks(account: Account, delivered: list[tuple[str, bytes]], records: Records) -> None:
    """Law F4 from outside: each effect arrived, always under one key, and again only if a kill left it in doubt."""
    wanted = {row["id"] for row in records.intents if row["type"] == "call-webhook"}
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for key, body in delivered:
        bodies[key].add(body)
    times = Counter(key for key, _ in delivered)
    doubts = Counter(row["intent"] for row in records.attempts if row["outcome"] == "interrupted")
    account.claim("effects lost", wanted - times.keys())
    account.claim("effects under another key", times.keys() - wanted)
    account.claim("effects changed", [(key, found) for key, found in bodies.items() if len(found) > 1])
    account.claim("effects again without doubt", [(key, n) for key, n in times.items() if n > 1 + doubts[key]])
    account.numbers |= {
        "webhooks": len(wanted), "deliveries": len(delivered), "keys delivered": len(times),
        "delivered again, same key": sum(times.values()) - len(times),
    }  # fmt: skip


def of_own_effects(account: Account, ran_file: Path, records: Records) -> None:
    """Effects inside the database, exactly once: emitted events, paused queues, runs and their processes."""
    ids = {kind: [row["id"] for row in records.intents if row["type"] == kind] for kind in ("emit-event", "run-flow")}
    emitted = [arrival.event.id for arrival in records.arrivals if arrival.event.source.startswith("automation/")]
    account.claim("emitted", _differing(Counter(emitted), Counter(ids["emit-event"])))
    broken = {firing.labels["id"] for firing in records.firings if firing.automation == "broken-line"}
    paused = [arrival.event.resource["id"] for arrival in records.arrivals if arrival.event.event == "queue.paused"]
    account.claim("queues paused", _differing(Counter(paused), Counter(f"queue/{name}" for name in broken)))
    account.claim("queues", {row["name"] for row in records.queues if row["paused"]} ^ broken)
    account.claim("runs", set(ids["run-flow"]) ^ {row["id"] for row in records.runs})
    ran = Counter(ran_file.read_text().split() if ran_file.exists() else [])
    least = {"completed": 1, "crashed": 0}
    account.claim("processes of runs", [
        (row["state"], row["detail"], ran[row["id"]]) for row in records.runs
        if row["state"] not in least or not least[row["state"]] <= ran[row["id"]] <= row["attempt"]
    ])  # fmt: skip
    account.numbers |= {"emitted": len(emitted), "queues paused": len(paused), "runs": len(records.runs)}
    account.numbers["runs crashed by kills"] = sum(row["state"] == "crashed" for row in records.runs)


def of_what_was_told(account: Account, records: Records) -> None:
    """What happened was told in the log, once."""
    names = Counter(arrival.event.event for arrival in records.arrivals if arrival.event.source == "tocsin")
    resolved = sum(firing.verdict is Verdict.RESOLVED for firing in records.firings)
    wanted = {
        "tocsin.automation.fired": len(records.firings) - resolved,
        "tocsin.automation.resolved": resolved,
        "tocsin.action.succeeded": len(records.intents),
        "tocsin.definitions.changed": 1,
        "flow-run.pending": len(records.runs),
    }
    account.claim("told", [(name, names[name], count) for name, count in wanted.items() if names[name] != count])
    bad = ("tocsin.automation.failed", "tocsin.action.failed", "tocsin.automation.loop_stopped", "flow-run.failed")
    account.claim("told of failures", [(name, names[name]) for name in bad if names[name]])
