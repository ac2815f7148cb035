"""`celery.messaging`: the current app's connection and consumers, under the names that Celery 3 had for them."""

from .local import Proxy, getappattr

__all__ = ("TaskConsumer", "establish_connection", "get_consumer_set")

TaskConsumer = Proxy(getappattr, ("amqp.TaskConsumer",))
establish_connection = Proxy(getappattr, ("connection",))
get_consumer_set = Proxy(getappattr, ("amqp.TaskConsumer",))
