"""Which addresses may be called: never those that hand out credentials; from event data, public ones only."""

from __future__ import annotations

import pytest

from tocsin.engine.addresses import why_refused

NEVER = (
    "169.254.169.254", "169.254.1.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::a9fe:a9fe",
    "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
)  # fmt: skip
OURS = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255",
    "::1", "::", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::7f00:1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("public_only", [True, False])
def test_addresses_that_hand_out_credentials_are_never_called(address: str, public_only: bool) -> None:
    assert "metadata" in (why_refused(address, public_only=public_only) or "")


@pytest.mark.parametrize("address", OURS)
def test_what_is_not_public_is_called_only_where_a_definition_names_it(address: str) -> None:
    assert why_refused(address, public_only=False) is None
    assert "TOCSIN_ALLOW_HOSTS" in (why_refused(address, public_only=True) or "")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str) -> None:
    assert why_refused(address, public_only=True) is None
