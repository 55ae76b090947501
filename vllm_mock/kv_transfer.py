"""What this server tells a peer that goes on with its requests: kv_transfer_params, as vLLM's NIXL connector has it."""

import random
import socket
import uuid
from typing import Any

from vllm_mock.engine import RequestHandle
from vllm_mock.node import node_ip
from vllm_mock.protocol.pd_contract import OPAQUE, PDContract
from vllm_mock.settings import Settings


def pd_contract(settings: Settings) -> PDContract | None:
    """What --pd-contract demands of requests, if it does."""
    name, role = settings.pd_contract, settings.pd_role
    return None if name is None or role is None else PDContract(name, role)


class KVTransfer:
    """One engine as the source of KV caches."""

    def __init__(self, settings: Settings, rank: int, ranks: int) -> None:
        engine_id = (settings.kv_transfer_config or {}).get("engine_id") or str(uuid.uuid4())
        self._engine_id = f"{engine_id}_dp{rank}" if ranks > 1 else engine_id
        self._configured_host = settings.kv_transfer_host
        self._port = settings.kv_transfer_port + rank
        self._tensor_parallel_size = settings.tensor_parallel_size
        self._pipeline_parallel_size = settings.pipeline_parallel_size
        self._block_size = settings.block_size
        contract = pd_contract(settings)
        self._seal = {"opaque": OPAQUE} if contract is not None and contract.seals_kv_transfer else {}

    def params(self, handle: RequestHandle) -> dict[str, Any]:
        """Where the KV cache of a request is that has got all its tokens."""
        request = handle.request
        # The last token was never an input: it has no place in the cache.
        tokens = handle.num_total_tokens - 1
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [handle.block_ids[: -(-tokens // self._block_size)]],
            "remote_engine_id": self._engine_id,
            # vLLM's engine has ids of its own, so that no two of its clients' can be the same.
            "remote_request_id": f"{request.request_id}-{random.getrandbits(32):08x}",
            "remote_host": self._host(),
            "remote_port": self._port,
            "tp_size": self._tensor_parallel_size,
            "dcp_size": 1,
            "pp_size": self._pipeline_parallel_size,
            "remote_num_tokens": tokens,
            "remote_blocks_expiry_time": None,
            "remote_registration_generation": 0,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": handle.num_cached_tokens + handle.num_external_tokens,
            **self._seal,
        }

    def _host(self) -> str:
        """As told, else found out when it is first asked for."""
        if self._configured_host is None:
            self._configured_host = node_ip() or socket.gethostname()
        return self._configured_host
