"""Constants: what the fit of the roofline moves, beginning with start.json."""

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time import device as devices
from vllm_mock.engine.step_time.roofline import HOST, HOST_IN_TURN, Host

_START = Path(__file__).with_name("start.json")

# No share of a data sheet is above these, whatever the rows say.
_MOST = {"weights": 0.97, "gemm": 0.92, "kv_cache": 0.97, "expert_weights": 0.97, "expert_gemm": 0.92, "link": 1.0}


@dataclass(frozen=True, slots=True)
class Constants:
    """efficiency: by device, as in vllm_mock/data/devices.json. host: seconds, the fields of Host and those of a server
    without asynchronous scheduling ("in_turn", added); frontend: what TTFT has besides, which no simulation uses.
    """

    efficiency: dict[str, dict[str, Any]]
    host: dict[str, float]

    def get(self, device: str, name: str) -> float:
        """The value of a name as "layer_us", "weights.0.5" (of weights with half a byte) or "step" (of the host)."""
        if name in self.host:
            return self.host[name]
        part, _, size = name.partition(".")
        found = self.efficiency[device][part]
        return found[size] if size else found

    def put(self, device: str, name: str, value: float) -> None:
        """Sets it, but no share above what is possible."""
        part, _, size = name.partition(".")
        value = min(value, _MOST.get(part, math.inf))
        if size:
            self.efficiency[device][part][size] = value
        else:
            self.efficiency[device][part] = value

    def moved(self, which: tuple[str, ...], names: list[str], logarithms: list[float]) -> "Constants":
        """A copy with each named value times e to its logarithm, on all devices of `which`."""
        found = copy.deepcopy(self)
        for name, logarithm in zip(names, logarithms, strict=True):
            factor = math.exp(logarithm)
            if name in found.host:
                found.host[name] *= factor
                continue
            # A smooth maximum needs a sharpness above 1.
            least = 1.0 if "sharpness" in name else 0.0
            for device in which:
                found.put(device, name, least + (self.get(device, name) - least) * factor)
        return found

    def device(self, name: str) -> devices.Device:
        """The device with these efficiencies; B300 has those of the B200."""
        found = devices.find_device(name)
        values = self.efficiency["b200" if name == "b300" else name]
        return devices.Device(
            name, found.memory, found.bandwidth, found.link, found.flops, devices.efficiency_of(values)
        )

    def host_of(self, asynchronous: bool) -> Host:
        """What the CPU adds, with or without asynchronous scheduling."""
        host, more = self.host, 0 if asynchronous else 1
        return Host(
            host["step"] + more * host["step_in_turn"],
            host["sequence"] + more * host["sequence_in_turn"],
            host["prefill"],
        )


def start() -> Constants:
    """What the fit begins with."""
    found = json.loads(_START.read_text(encoding="utf-8"))
    return Constants(found["efficiency"], found["host"])


def used() -> Constants:
    """What the simulator uses now."""
    table = devices.table("devices")
    host = {
        **HOST._asdict(),
        "step_in_turn": HOST_IN_TURN.step - HOST.step,
        "sequence_in_turn": HOST_IN_TURN.sequence - HOST.sequence,
    }
    return Constants({name: table[name]["efficiency"] for name in start().efficiency}, host)
