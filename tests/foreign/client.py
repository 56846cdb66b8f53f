"""A client that is independent of the library: replays the examples of PROTOCOL.md over a WebSocket.

    client.py ws://host:port PROTOCOL.md

It uses the package `websockets`. Each frame of the client is sent as one message, without its prefix.
Each frame of the server has to arrive as one message. The server closes the connection after the
client's Close frame.
"""

import re
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

TIMEOUT = 10
PREFIX = 4


def parse_examples(document):
    """Returns pairs of a sender and its bytes, in the order of the document."""
    sent = []
    for block in re.findall(r"```hex\n(.*?)```", document, re.DOTALL):
        for line in filter(None, block.splitlines()):
            sender, digits = line.partition("|")[0].split(maxsplit=1)
            if sent and sent[-1][0] == sender:
                sent[-1][1].extend(bytes.fromhex(digits))
            else:
                sent.append((sender, bytearray(bytes.fromhex(digits))))
    return sent


def frames(data):
    """Yields the frames of bytes sent over TCP, without their prefixes."""
    while data:
        length = int.from_bytes(data[:PREFIX], "little")
        yield bytes(data[PREFIX : PREFIX + length])
        data = data[PREFIX + length :]


def main(url, document):
    with open(document, encoding="utf-8") as text:
        sent = parse_examples(text.read())
    exchanged = 0
    with connect(url, subprotocols=["sockets.v1"], compression=None, open_timeout=TIMEOUT) as socket:
        assert socket.subprotocol == "sockets.v1", socket.subprotocol
        for sender, data in sent:
            for frame in frames(data):
                if sender == "client":
                    socket.send(frame)
                else:
                    received = socket.recv(timeout=TIMEOUT)
                    assert received == frame, f"{received!r} is not {frame!r}"
                exchanged += 1
        try:
            more = socket.recv(timeout=TIMEOUT)
            raise AssertionError(f"unexpected message of the server: {more!r}")
        except ConnectionClosedOK:
            pass
    assert socket.close_code == 1000, socket.close_code
    print(f"{exchanged} frames match the document")


main(*sys.argv[1:])
