"""Channels: where notifications go. What is secret about a channel, its address included, is a reference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tocsin.schemas.action import check_headers, check_url
from tocsin.schemas.secret import Secret, TextOrSecret
from tocsin.schemas.spec import EntryName, Spec, Text


class LogChannel(Spec):
    """Write notifications to the server's log."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["log"]


class SlackChannel(Spec):
    """Post to Slack, or to what takes the same messages (Mattermost, Rocket.Chat)."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["slack"]
    url: Secret = Field(description="The incoming webhook's address.")


class TeamsChannel(Spec):
    """Post to Microsoft Teams."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["teams"]
    url: Secret = Field(description="The workflow's webhook address.")


class WebhookChannel(Spec):
    """Send notifications as JSON to an address of your own."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["webhook"]
    url: TextOrSecret = Field(description="Where to send them.")
    headers: dict[str, TextOrSecret] = Field(default_factory=dict, description="More headers.")
    secret: Secret | None = Field(None, description="Signs the request with Standard Webhooks.")

    _check_headers = field_validator("headers")(check_headers)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: Any) -> Any:
        return check_url(url) if isinstance(url, str) else url


class EmailChannel(Spec):
    """Send mail through an SMTP server."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["email"]
    host: Text = Field(description="The SMTP server.")
    port: int = Field(587, ge=1, le=65_535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is protected.")
    username: Text | None = Field(None, description="Who logs in to the server.")
    password: Secret | None = Field(None, description="The password for `username`.")
    sender: Text = Field(alias="from", description="The address that mail comes from.")
    to: list[Text] = Field(min_length=1, description="The addresses that mail goes to.")

    @model_validator(mode="after")
    def _login_is_whole(self) -> EmailChannel:
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` go together: give both or neither")
        if self.password is not None and self.security == "none":
            raise ValueError("a password is not sent over an unprotected connection: use `security: starttls` or `tls`")
        return self


class AppriseChannel(Spec):
    """Send through any of the services that the library Apprise knows."""

    name: EntryName = Field(description="What actions call it.")
    type: Literal["apprise"]
    url: Secret = Field(description="The service's Apprise URL.")


AnyChannel = LogChannel | SlackChannel | TeamsChannel | WebhookChannel | EmailChannel | AppriseChannel

Channel = Annotated[AnyChannel, Field(discriminator="type")]
"""Any channel; `type` says which."""
