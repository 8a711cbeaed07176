"""FastStream's broker for a Redis Cluster, with pipelines: all entries go to the one node that has the stream.

FastStream 0.7 ignores a pipeline there, because keys of several nodes can not share one. Ours is one key, and without
a pipeline there would be a round trip for each request, and no way to ask what the replicas have.
"""

from __future__ import annotations

from typing import Any

from faststream.redis import RedisBroker, RedisClusterBroker
from faststream.redis.message import DATA_KEY
from faststream.redis.publisher.producer import RedisClusterFastProducer
from faststream.redis.response import RedisPublishCommand


class PipeliningProducer(RedisClusterFastProducer):
    """Adds to a stream by the pipeline that it is given."""

    async def publish(self, cmd: RedisPublishCommand) -> Any:
        """Queue the entry in the pipeline, or publish it at once where there is none."""
        if not cmd.pipeline:
            return await super().publish(cmd)
        message = await cmd.message_format.encode(
            message=cmd.body,
            reply_to=cmd.reply_to,
            headers=cmd.headers,
            correlation_id=cmd.correlation_id or "",
            serializer=self.serializer,
            codec=self.codec,
        )
        return cmd.pipeline.xadd(name=cmd.destination, fields={DATA_KEY: message}, maxlen=cmd.maxlen)


class PipeliningClusterBroker(RedisClusterBroker):
    """The broker of a cluster whose `publish` takes pipelines, as that of a single Redis does."""

    def _make_producer(self, connection_state: Any, kwargs: dict[str, Any]) -> PipeliningProducer:
        return PipeliningProducer(
            connection=connection_state,
            cluster_state=connection_state,
            parser=kwargs.get("parser"),
            decoder=kwargs.get("decoder"),
            message_format=self.message_format,
            serializer=kwargs.get("serializer"),
        )

    async def publish(self, message: Any = None, channel: str | None = None, **options: Any) -> Any:
        """Publish as `RedisBroker` does."""
        return await RedisBroker.publish(self, message, channel, **options)
