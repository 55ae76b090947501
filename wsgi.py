"""The WSGI application: `gunicorn wsgi:app`; flags come from the environment variable VLLM_MOCK_ARGS."""

from vllm_mock.serving.worker import worker_app

app = worker_app()
