"""AMQP 0-9-1 as RabbitMQ and py-amqp speak it: bytes <-> values, no sockets.

table        field tables, the maps inside headers and arguments
headers      the same on the hot path: learned layouts, templates
properties   the content header: a message's properties and headers
contents     the same to and from Message
template     the same of a message of which almost all is known
methods      every method of the protocol, as data
frames       the byte stream cut into frames, and the frames of the hot methods
inbox        frames put together into deliveries, returns, confirms and calls
confirms     which publishes the broker has answered for
topology     exchanges, queues and bindings as Celery declares them
delayed      native delayed delivery: its 28 levels and its routing keys
handshake    what a client answers from `connection.start` to `connection.close-ok`
"""
