"""A stand-in for `vllm serve`: the same HTTP interface, metrics and timing, without a GPU."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm_mock.application import MockApp
    from vllm_mock.settings import Settings


def create_app(settings: "Settings") -> "MockApp":
    """Build the WSGI application for one worker process.

    Flask is imported here, not with the package: the gunicorn master reads settings only.
    """
    from vllm_mock.application import build

    return build(settings)
