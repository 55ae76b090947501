"""What AIBrix's gateway sends to the two halves of a disaggregated request, and what it expects back.

The forms, their names and the sentinel are those of AIBrix's mock, whose end-to-end tests look for them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeGuard

from vllm_mock.protocol.errors import ApiError

# Travels from a prefill's answer to the decode's request: proof that the gateway has passed on what it does not know.
OPAQUE = "aibrix-pd-contract-opaque-sentinel"
PREFILL, DECODE = "prefill", "decode"

Fields = Mapping[str, Any]


class PDContract:
    """One form, and the half that this server does."""

    def __init__(self, name: str, role: str) -> None:
        self.name = name
        self.role = role
        self._check = _CHECKS[name, role]

    @property
    def seals_kv_transfer(self) -> bool:
        """Whether the kv_transfer_params of an answer carry the sentinel."""
        return (self.name, self.role) == ("vllm-aibrix-shfs", PREFILL)

    @property
    def seals_answer(self) -> bool:
        """Whether an answer itself carries it."""
        return (self.name, self.role) == ("vllm-aibrix-nixl", PREFILL)

    def check(self, request: Any) -> None:
        """Raises ApiError for a validated chat or completion request that is not of the form."""
        self._check({**(request.model_extra or {}), "kv_transfer_params": request.kv_transfer_params})


def _shfs_prefill(fields: Fields) -> None:
    if _object(fields, "kv_transfer_params").get("do_remote_decode") is not True:
        _refuse("kv_transfer_params.do_remote_decode must be true")


def _shfs_decode(fields: Fields) -> None:
    params = _object(fields, "kv_transfer_params")
    expected: dict[str, Callable[[Any], bool]] = {
        "do_remote_decode": lambda value: value is False,
        "do_remote_prefill": lambda value: value is True,
        "remote_engine_id": _is_text,
        "remote_block_ids": lambda value: isinstance(value, list) and bool(value),
        "remote_host": _is_text,
        "remote_port": _is_positive,
        "opaque": lambda value: value == OPAQUE,
    }
    for key, fits in expected.items():
        _need("kv_transfer_params", params, key, fits)


def _nixl_prefill(fields: Fields) -> None:
    if "do_remote_decode" in (fields["kv_transfer_params"] or {}):
        _refuse("nixl prefill must not contain SHFS kv_transfer_params skeleton")


def _nixl_decode(fields: Fields) -> None:
    if _object(fields, "disagg_prefill_resp").get("opaque") != OPAQUE:
        _refuse("missing disagg_prefill_resp.opaque sentinel")


def _sglang(fields: Fields) -> None:
    if not _is_text(fields.get("bootstrap_host")):
        _refuse("invalid bootstrap_host")
    if not _is_positive(fields.get("bootstrap_port")):
        _refuse("invalid bootstrap_port")
    room = fields.get("bootstrap_room")
    if not _is_integer(room) or room < 0:
        _refuse("invalid bootstrap_room")


def _trtllm_prefill(fields: Fields) -> None:
    _trtllm(fields, "context_only")
    ids = fields.get("prompt_token_ids")
    if ids is not None and not _are_integers(ids):
        _refuse("invalid prompt_token_ids")


def _trtllm_decode(fields: Fields) -> None:
    params = _trtllm(fields, "generation_only")
    if not _are_integers(fields.get("prompt_token_ids")):
        _refuse("missing prompt_token_ids")
    expected: dict[str, Callable[[Any], bool]] = {
        "disagg_request_id": lambda value: _is_integer(value) or (_is_text(value) and value.lstrip("-").isdigit()),
        "first_gen_tokens": _are_integers,
        "encoded_opaque_state": lambda value: isinstance(value, str),
    }
    for key, fits in expected.items():
        _need("disaggregated_params", params, key, fits)


def _trtllm(fields: Fields, kind: str) -> Fields:
    params = _object(fields, "disaggregated_params")
    if params.get("request_type") != kind:
        _refuse(f"disaggregated_params.request_type must be {kind}")
    return params


_CHECKS: dict[tuple[str, str], Callable[[Fields], None]] = {
    ("vllm-aibrix-shfs", PREFILL): _shfs_prefill,
    ("vllm-aibrix-shfs", DECODE): _shfs_decode,
    ("vllm-aibrix-nixl", PREFILL): _nixl_prefill,
    ("vllm-aibrix-nixl", DECODE): _nixl_decode,
    ("sglang-http", PREFILL): _sglang,
    ("sglang-http", DECODE): _sglang,
    ("trtllm-openai", PREFILL): _trtllm_prefill,
    ("trtllm-openai", DECODE): _trtllm_decode,
}


def _object(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    if not isinstance(value, dict):
        _refuse(f"missing {name}")
    return value


def _need(place: str, params: Fields, key: str, fits: Callable[[Any], bool]) -> None:
    if key not in params:
        _refuse(f"missing {place}.{key}")
    if not fits(params[key]):
        _refuse(f"invalid {place}.{key}")


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, message, "invalid_request")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_integer(value) and value > 0


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))
