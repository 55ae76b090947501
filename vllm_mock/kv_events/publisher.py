"""The sockets: PUB for batches as they come, ROUTER for those who missed some."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import zmq

from vllm_mock.kv_events.config import KVEventsConfig, is_bound
from vllm_mock.node import node_ip
from vllm_mock.settings import SettingsError

END_OF_REPLAY = (-1).to_bytes(8, "big", signed=True)
ANY_PORT = "tcp://*:0"
# How many batches of a replay are sent before others have their turn.
_REPLAY_SLICE = 256
_LINGER_MILLISECONDS = 100


class ReplayRequest(NamedTuple):
    """Batches from number `start` on, for a client; `head` are the frames that lead to it."""

    head: list[bytes]
    start: int


class ZmqPublisher:
    """Publishes and replays batches; all methods belong to one thread, and none of them blocks.

    A message is topic, sequence number (8 bytes, big-endian, from 0) and payload. The newest `buffer_steps` are kept
    for replays. `config` has the endpoints in use. Raises SettingsError when one of them cannot be used.
    """

    def __init__(self, config: KVEventsConfig, host_ip: str | None, yield_turn: Callable[[], None]) -> None:
        self._host_ip = host_ip
        self._yield_turn = yield_turn
        self._topic = config.topic.encode()
        self._buffer: deque[tuple[bytes, bytes]] = deque(maxlen=config.buffer_steps)
        self._next = 0
        self._context = zmq.Context()
        self._replays: zmq.Socket[bytes] | None = None
        try:
            self._socket = self._context.socket(zmq.PUB)
            self._socket.set_hwm(config.hwm)
            endpoint, replay_endpoint = self._open(self._socket, config.endpoint), config.replay_endpoint
            if replay_endpoint is not None:
                self._replays = self._context.socket(zmq.ROUTER)
                # Room for a whole replay, whose receipt is acknowledged by halves.
                self._replays.setsockopt(zmq.SNDHWM, 2 * (config.buffer_steps + 1))
                replay_endpoint = self._bind(self._replays, replay_endpoint)
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self.config = replace(config, endpoint=endpoint, replay_endpoint=replay_endpoint)

    def publish(self, payload: bytes) -> None:
        """Sends one batch to whoever has subscribed; a consumer that does not keep up misses it."""
        sequence = self._next.to_bytes(8, "big")
        self._next += 1
        self._socket.send_multipart((self._topic, sequence, payload), zmq.NOBLOCK)
        self._buffer.append((sequence, payload))

    def replay_requests(self) -> list[ReplayRequest]:
        """The requests that have come since the last call."""
        requests: list[ReplayRequest] = []
        while self._replays is not None:
            try:
                client, *envelope, start = self._replays.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            # A request has an empty frame in front, which the answer repeats. Without it vLLM would not answer,
            # but AIBrix's consumer asks so.
            if envelope in ([b""], []):
                requests.append(ReplayRequest([client, *envelope], int.from_bytes(start, "big")))
        return requests

    def replay(self, request: ReplayRequest) -> None:
        """Sends the kept batches from the asked number on, then a mark of the end."""
        assert self._replays is not None
        wanted = [message for message in self._buffer if int.from_bytes(message[0], "big") >= request.start]
        for number, (sequence, payload) in enumerate(wanted, 1):
            self._replays.send_multipart((*request.head, self._topic, sequence, payload), zmq.NOBLOCK)
            if number % _REPLAY_SLICE == 0:
                self._yield_turn()
        self._replays.send_multipart((*request.head, b"", END_OF_REPLAY, b""), zmq.NOBLOCK)

    def close(self) -> None:
        """Closes the sockets; what is on its way has a moment to arrive."""
        self._context.destroy(linger=_LINGER_MILLISECONDS)

    def _open(self, socket: "zmq.Socket[bytes]", endpoint: str) -> str:
        if is_bound(endpoint):
            return self._bind(socket, endpoint)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"--kv-events-config: cannot connect to {endpoint}: {zmq.strerror(error.errno or 0)}"
            ) from None
        return endpoint

    def _bind(self, socket: "zmq.Socket[bytes]", endpoint: str) -> str:
        """Binds and returns the endpoint, which for any port is this node's address with the port that it got."""
        if endpoint == ANY_PORT:
            address = self._host_ip or node_ip()
            if address is None:
                raise SettingsError(f"--kv-events-config: {ANY_PORT} needs an address of this node; set VLLM_HOST_IP")
            endpoint = f"tcp://[{address}]:0" if ":" in address else f"tcp://{address}:0"
        if "[" in endpoint:
            socket.setsockopt(zmq.IPV6, 1)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"--kv-events-config: cannot listen on {endpoint}: {zmq.strerror(error.errno or 0)}"
            ) from None
        return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0") if endpoint.endswith(":0") else endpoint


def give_way() -> None:
    """Lets other threads or greenlets run."""
    time.sleep(0)
