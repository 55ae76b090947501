"""A consumer of KV events as a router has it: subscribes, asks for replays, and mirrors the server's prefix cache."""

import json

import msgspec
import zmq

END_OF_REPLAY = b"\xff" * 8


class Consumer:
    """Mirrors one publisher; `blocks` maps the hashes that are cached to (parent, token ids)."""

    def __init__(self, port, replay_port=None, topic=""):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        if port:
            self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.socket.subscribe(topic)
        self.replay_port = replay_port
        self.blocks = {}
        self.events = []
        self.sequences = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.destroy(linger=0)

    def catch_up(self):
        """Applies all that has happened so far: a replay is complete."""
        for _topic, sequence, payload in self.replay(self.sequences[-1] + 1 if self.sequences else 0)[:-1]:
            self.apply(sequence, payload)

    def receive(self, seconds=5.0):
        """Applies the messages of the subscription that come within some seconds of each other."""
        while self.socket.poll(seconds * 1000):
            _topic, sequence, payload = self.socket.recv_multipart()
            self.apply(sequence, payload)

    def apply(self, sequence, payload):
        number = int.from_bytes(sequence, "big")
        if self.sequences and number <= self.sequences[-1]:
            return
        self.sequences.append(number)
        _timestamp, events, self.rank = msgspec.msgpack.decode(payload)
        for event in events:
            self.events.append(event)
            self._apply_event(event)

    def _apply_event(self, event):
        match event["type"]:
            case "BlockStored":
                parent, size = event["parent_block_hash"], event["block_size"]
                assert parent is None or parent in self.blocks
                assert len(event["token_ids"]) == size * len(event["block_hashes"])
                for number, block in enumerate(event["block_hashes"]):
                    assert block not in self.blocks
                    self.blocks[block] = (parent, event["token_ids"][number * size : (number + 1) * size])
                    parent = block
            case "BlockRemoved":
                for block in event["block_hashes"]:
                    del self.blocks[block]
            case "AllBlocksCleared":
                self.blocks.clear()

    def cached_tokens(self, prompt):
        """How much of a prompt the server should find in its cache: all but the last token can be a hit."""
        children = {(parent, tuple(tokens)): block for block, (parent, tokens) in self.blocks.items()}
        known, parent, size = 0, None, len(next(iter(self.blocks.values()))[1]) if self.blocks else 1
        while (known + size) < len(prompt):
            parent = children.get((parent, tuple(prompt[known : known + size])))
            if parent is None:
                break
            known += size
        return known

    def replay(self, start, kind=zmq.DEALER, envelope=(b"",)):
        """The answers to a request for a replay from a sequence number on, without their envelope."""
        socket = self.context.socket(kind)
        socket.connect(f"tcp://127.0.0.1:{self.replay_port}")
        socket.send_multipart([*envelope, start.to_bytes(8, "big")])
        answers = []
        while not answers or answers[-1][1] != END_OF_REPLAY:
            assert socket.poll(5000), "the replay did not end"
            frames = socket.recv_multipart()
            assert frames[: len(envelope)] == list(envelope)
            answers.append(frames[len(envelope) :])
            if kind == zmq.REQ:
                break
        socket.close(linger=0)
        return answers


def events_flags(port, replay_port=None, **fields):
    """The flag that switches events on, with endpoints on these ports."""
    config = {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": f"tcp://*:{port}", **fields}
    if replay_port is not None:
        config["replay_endpoint"] = f"tcp://*:{replay_port}"
    return ("--kv-events-config", json.dumps(config))
