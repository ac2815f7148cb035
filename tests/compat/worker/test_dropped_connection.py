"""A worker gives up the connection of its bootsteps: with bounds, though the broker may have gone silent."""

from unittest.mock import Mock

from celeriac.compat.worker.consumer.consumer import COLLECT_SOCKET_TIMEOUT, Consumer


def consumer_with(connection):
    consumer = Consumer.__new__(Consumer)
    consumer.controller = Mock(is_stopped=True)
    consumer.connection = connection
    consumer.conninfo = connection
    return consumer


def silent_connection():
    open_socket = Mock(name="socket")
    connection = Mock(name="connection")
    connection.transport.channels = []
    connection._connection._transport.sock = open_socket
    return connection, open_socket


def test_error_gives_the_connection_up_and_bounds_its_sockets_before_closing():
    connection, open_socket = silent_connection()
    connection.close.side_effect = lambda: open_socket.settimeout.assert_called_once_with(COLLECT_SOCKET_TIMEOUT)
    consumer = consumer_with(connection)
    consumer.on_connection_error_after_connected(OSError("gone"))
    connection.close.assert_called_once_with()
    assert consumer.connection is None


def test_connection_that_cannot_be_closed_is_given_up_all_the_same():
    connection, _ = silent_connection()
    connection.close.side_effect = OSError("timed out")
    consumer = consumer_with(connection)
    consumer.drop_connection()
    assert consumer.connection is None
