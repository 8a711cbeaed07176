"""Addresses of the bus: what may be written, what is understood, and that nothing secret is ever shown."""

from __future__ import annotations

import pytest

from tocsin.engine.bus.address import Kind, address_of
from tocsin.errors import TocsinError

LOGIN = "joe:s3cret-pass"


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        (f"redis://{LOGIN}@redis.local/3", Kind.SINGLE, "redis://redis.local:6379"),
        (f"rediss://{LOGIN}@[::1]:6390/0?ssl_cert_reqs=none", Kind.SINGLE, "rediss://[::1]:6390"),
        ("unix:///run/redis.sock?db=2", Kind.SINGLE, "unix:///run/redis.sock"),
        (f"redis+sentinel://{LOGIN}@a,b:26380/bus?db=1", Kind.SENTINEL, "redis+sentinel://a:26379,b:26380/bus"),
        (
            f"rediss+sentinel://{LOGIN}@a/bus?sentinel_password=hunter2", Kind.SENTINEL,
            "rediss+sentinel://a:26379/bus",
        ),
        (f"redis+cluster://{LOGIN}@a:7000,b", Kind.CLUSTER, "redis+cluster://a:7000,b:6379"),
    ],
)  # fmt: skip
def test_what_may_be_written_and_what_is_shown_of_it(url: str, kind: Kind, shown: str) -> None:
    address = address_of(url)
    assert (address.kind, str(address)) == (kind, shown)
    for secret in ("s3cret-pass", "hunter2", "joe"):
        assert secret not in repr(address)
    assert address.broker() is not None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "address of the bus is none"),
        (f"amqp://{LOGIN}@host", "address of the bus is none"),
        (f"redis://{LOGIN}@", "address of the bus is none"),
        (f"redis://{LOGIN}@host:port", "address of the bus is none"),
        (f"redis://{LOGIN}@a,b", "several hosts"),
        (f"redis+sentinel://{LOGIN}@a,b", "names no service"),
        (f"redis+cluster://{LOGIN}@a/1", "names a database"),
        (f"redis://{LOGIN}@a?socket_timeout=soon", "options"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_without_the_login(url: str, why: str) -> None:
    with pytest.raises(TocsinError) as caught:
        address_of(url)
    said = str(caught.value)
    assert why in said
    assert "s3cret" not in said
    assert "\n" not in said
