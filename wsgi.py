"""The WSGI application: `gunicorn wsgi:app`; flags come from the environment variable VLLM_MOCK_ARGS."""

from vllm_mock.serving.arguments import process_settings
from vllm_mock.serving.worker import WorkerApp

app = WorkerApp(process_settings())
