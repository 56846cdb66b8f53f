"""A client that is not ours: the examples of PROTOCOL.md over a WebSocket of the `websockets` package.

    client.py ws://host:port PROTOCOL.md

Each frame of the client's side of the examples is sent as one message, without its prefix; each frame of the server's side
has to come as one. The server closes when the client has said goodbye.
"""

import re
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

PATIENCE = 10
PREFIX = 4


def turns(document):
    """Which side says which bytes, in the order of the document."""
    said = []
    for block in re.findall(r"```hex\n(.*?)```", document, re.DOTALL):
        for line in filter(None, block.splitlines()):
            side, digits = line.partition("|")[0].split(maxsplit=1)
            if said and said[-1][0] == side:
                said[-1][1].extend(bytes.fromhex(digits))
            else:
                said.append((side, bytearray(bytes.fromhex(digits))))
    return said


def frames(said):
    """The frames that these bytes are over TCP."""
    while said:
        length = int.from_bytes(said[:PREFIX], "little")
        yield bytes(said[PREFIX : PREFIX + length])
        said = said[PREFIX + length :]


def main(url, document):
    with open(document, encoding="utf-8") as text:
        said = turns(text.read())
    exchanged = 0
    with connect(url, subprotocols=["sockets.v1"], compression=None, open_timeout=PATIENCE) as socket:
        assert socket.subprotocol == "sockets.v1", socket.subprotocol
        for side, together in said:
            for frame in frames(together):
                if side == "client":
                    socket.send(frame)
                else:
                    received = socket.recv(timeout=PATIENCE)
                    assert received == frame, f"{received!r} is not {frame!r}"
                exchanged += 1
        try:
            more = socket.recv(timeout=PATIENCE)
            raise AssertionError(f"the server says more than the document: {more!r}")
        except ConnectionClosedOK:
            pass
    assert socket.close_code == 1000, socket.close_code
    print(f"{exchanged} frames as in the document")


main(*sys.argv[1:])
