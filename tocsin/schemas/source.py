"""Sources: how events of others arrive, how they are verified and turned into events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from tocsin.schemas.event import OWN_SOURCE
from tocsin.schemas.secret import Secret
from tocsin.schemas.spec import JMESPath, Slug, Spec, Text, with_id, with_id_and_role


def _not_reserved(name: str) -> str:
    if name == OWN_SOURCE:
        raise ValueError(f"`{OWN_SOURCE}` is the source of the engine's own events: choose another name")
    return name


SourceName = Annotated[Slug, AfterValidator(_not_reserved)]
"""The name of a source: it stands in an address, and is not the engine's own."""


class HmacVerification(Spec):
    """The sender signs the body with a shared secret."""

    type: Literal["hmac"]
    header: Text = Field(description="The header that carries the signature.")
    algorithm: Literal["sha256", "sha512", "sha384", "sha1"] = Field("sha256", description="The hash function.")
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.")
    prefix: str = Field("", description='What stands in front of the signature, for example "sha256=".')
    secret: Secret = Field(description="The shared secret.")


class TokenVerification(Spec):
    """The sender sends a shared secret as it is."""

    type: Literal["token"]
    header: Text | None = Field(None, description="The header that carries the token.")
    query: Text | None = Field(None, description="The query parameter that carries the token.")
    prefix: str = Field("", description='What stands in front of the token, for example "Bearer ".')
    secret: Secret = Field(description="The token.")

    @model_validator(mode="after")
    def _one_place(self) -> TokenVerification:
        if (self.header is None) == (self.query is None):
            raise ValueError("a token comes in one place: write `header: Authorization` or `query: token`")
        return self


class BasicVerification(Spec):
    """The sender sends a user and a password, as HTTP Basic does (RFC 7617)."""

    type: Literal["basic"]
    user: Text = Field(description="The user.")
    password: Secret = Field(description="The password.")

    @field_validator("user")
    @classmethod
    def _no_colon(cls, user: str) -> str:
        if ":" in user:
            raise ValueError("contains `:`, which ends a user in HTTP Basic: choose another")
        return user


class StandardWebhooksVerification(Spec):
    """The sender signs as Standard Webhooks says; its `webhook-id` is the event's id, so a replay is a duplicate."""

    type: Literal["standard-webhooks"]
    secret: Secret = Field(description="The shared secret, in base64: whsec_...")


class NoVerification(Spec):
    """Anybody who reaches the server may send."""

    type: Literal["none"]


Verification = Annotated[
    HmacVerification | TokenVerification | BasicVerification | StandardWebhooksVerification | NoVerification,
    Field(discriminator="type"),
]
"""How a request proves who sent it; `type` says which."""


class EventMapping(Spec):
    """How a request becomes an event: JMESPath over `{body, headers, query, method, source}`."""

    each: JMESPath | None = Field(
        None, description="Finds a list; each item becomes an event, and is `item` in the other expressions."
    )
    event: JMESPath = Field(description="The event's name.")
    resource: dict[str, JMESPath] = Field(description="The labels of its resource; `id` is required.")
    related: list[dict[str, JMESPath]] = Field(
        default_factory=list, description="Related resources; `id` and `role` are required, one without id is left out."
    )
    payload: JMESPath | None = Field(None, description="The event's payload; default the body, with `each` the item.")
    id: JMESPath | None = Field(None, description="What identifies the event; sent again, it is a duplicate.")
    occurred: JMESPath | None = Field(None, description="When it happened; else when it was received.")

    _with_id = field_validator("resource")(with_id)
    _with_id_and_role = field_validator("related")(with_id_and_role)


class WebhookSource(Spec):
    """Requests of others, received at `/hooks/NAME`: by a recipe, or by a verification and a mapping of your own."""

    name: SourceName = Field(description="The last part of the address, and the source of its events.")
    type: Literal["webhook"]
    recipe: Literal["github"] | None = Field(None, description="A sender that tocsin knows.")
    secret: Secret | None = Field(None, description="The secret that the recipe verifies with.")
    verify: Verification | None = Field(None, description="How requests prove who sent them.")
    event: EventMapping | None = Field(None, description="How a request becomes an event.")

    @model_validator(mode="after")
    def _recipe_or_own(self) -> WebhookSource:
        if self.recipe is None:
            if self.verify is None or self.event is None:
                raise ValueError("needs `recipe: github`, or both `verify` and `event`")
            if self.secret is not None:
                raise ValueError("`secret` belongs to a recipe: write it inside of `verify`")
        else:
            if self.verify is not None or self.event is not None:
                raise ValueError("`recipe` brings its own `verify` and `event`: leave them out, or leave out `recipe`")
            if self.secret is None:
                raise ValueError(f"`recipe: {self.recipe}` needs `secret`, for example {{env: GITHUB_SECRET}}")
        return self


class CheckinSource(Spec):
    """A job that reports by calling `/ping/KEY`, also with `/start`, `/fail` or an exit status."""

    name: SourceName = Field(description="What it is called, and the source of its events.")
    type: Literal["checkin"]
    key: Slug | None = Field(
        None, description="Stands in the address and in the events, default the name. Who knows it may check in."
    )

    @property
    def address_key(self) -> str:
        """Return the key that stands in the address."""
        return self.key or self.name


AnySource = WebhookSource | CheckinSource

Source = Annotated[AnySource, Field(discriminator="type")]
"""Any source; `type` says which."""
