"""Rows of the table: where and how the server listens, and the pod it stands for."""

from typing import Any

from .durations import MILLISECONDS
from .flag import Environment, from_environment, setting
from .kinds import (
    COMMA_SEPARATED,
    JSON_TEXTS,
    PATH,
    SWITCH,
    TEXT,
    choice,
    choices,
    human,
    integer,
    json_object,
    many,
    number,
    optional,
)

# As in llm-d's simulator.
FAILURE_TYPES = (
    "rate_limit",
    "invalid_api_key",
    "context_length",
    "server_error",
    "invalid_request",
    "model_not_found",
)


class ServerSettings:
    """Server"""

    host: str | None = setting(None, optional(TEXT), "Address to listen on.", default_text="0.0.0.0")
    port: int = setting(8000, integer(0, 65535), "Port to listen on.", environment=(Environment("SERVER_PORT"),))
    uds: str | None = setting(None, optional(PATH), "Unix domain socket to listen on, instead of host and port.")
    api_key: list[str] = setting(
        [],
        many(optional(TEXT)),
        "Keys, any of which a client must send as a Bearer token; none means open.",
        environment=(Environment("VLLM_API_KEY"),),
        secret=True,
    )
    root_path: str | None = setting(None, optional(TEXT), "Path prefix under which the routes are served as well.")
    shutdown_timeout: int = setting(
        0,
        integer(0, unit="seconds"),
        "How long running requests may finish after SIGTERM; 0 aborts them at once.",
    )
    sse_keep_alive_interval: int = setting(
        0, integer(0, unit="seconds"), "Interval of comments that keep a quiet stream alive; 0 sends none."
    )
    max_request_bytes: int = setting(
        50 * 2**20,
        human(65_536, unit="bytes"),
        "Largest body of a request; a larger one is refused with 413. Smaller limits than 64 KiB are not possible.",
    )
    request_read_timeout: float = setting(
        60.0,
        number(0, unit="seconds"),
        "How long a client may take to send a request, from the first byte to the last; 0 waits for ever.",
    )
    response_write_timeout: float = setting(
        30.0,
        number(0, unit="seconds"),
        "How long a client may take nothing of what is sent to it before it is dropped; 0 waits for ever.",
    )
    h11_max_incomplete_event_size: int = setting(
        4 * 2**20, integer(1, unit="bytes"), "Largest head of a request: its first line and header fields."
    )
    h11_max_header_count: int = setting(256, integer(1), "Most header fields in a request.")
    disable_fastapi_docs: bool = setting(False, SWITCH, "Do not serve /docs, /redoc and /openapi.json.")
    enable_request_id_headers: bool = setting(False, SWITCH, "Send X-Request-Id with every response.")
    enable_server_load_tracking: bool = setting(False, SWITCH, "Count the requests in progress for GET /load.")
    enable_access_log: bool = setting(
        False,
        SWITCH,
        "Log each request, except to /health, /ready, /ping and /metrics.",
        also=("--enable-uvicorn-access-log",),
    )
    disable_access_log_for_endpoints: list[str] = setting(
        [], COMMA_SEPARATED, "Further paths that the access log leaves out."
    )
    uvicorn_log_level: str = setting(
        "info",
        choice("critical", "error", "warning", "info", "debug", "trace"),
        "Least severity of what the server logs.",
    )
    allowed_origins: list[str] = setting([], JSON_TEXTS, "Origins that CORS allows.")
    allowed_methods: list[str] = setting(["*"], JSON_TEXTS, "Methods that CORS allows.")
    allowed_headers: list[str] = setting(["*"], JSON_TEXTS, "Request headers that CORS allows.")
    allow_credentials: bool = setting(False, SWITCH, "Let CORS requests carry credentials.")
    ssl_keyfile: str | None = setting(None, optional(PATH), "Private key for HTTPS.")
    ssl_certfile: str | None = setting(None, optional(PATH), "Certificate for HTTPS.")
    ssl_ca_certs: str | None = setting(None, optional(PATH), "Certificates that clients' certificates must chain to.")
    ssl_cert_reqs: int = setting(0, integer(0, 2), "Whether clients need a certificate: 0 no, 1 optional, 2 required.")
    ssl_ciphers: str | None = setting(None, optional(TEXT), "Ciphers for HTTPS, in OpenSSL's notation.")
    enable_ssl_refresh: bool = setting(False, SWITCH, "Use new certificate files as soon as they are there.")
    startup_duration: float = setting(
        0.0, MILLISECONDS, "How long the model takes to load: until then the server is not ready and answers 503."
    )
    failure_injection_rate: int = setting(
        0, integer(0, 100, unit="percent"), "How many of the generating requests fail with an error."
    )
    failure_types: list[str] = setting([], choices(*FAILURE_TYPES), "What they fail with.", default_text="all types")
    profiler_config: dict[str, Any] | None = setting(
        None, optional(json_object()), "Serve /start_profile and /stop_profile if it names a profiler."
    )
    enable_scale_out: bool = setting(
        False, SWITCH, "Serve the routes that render, generate and derender as requests of their own."
    )
    tokens_only: bool = setting(False, SWITCH, "Serve them as well: prompts come as token ids.")
    server_dev_mode: bool = from_environment(
        False, SWITCH, "Without effect: vLLM's development routes are always served.", "VLLM_SERVER_DEV_MODE"
    )
    enable_responses_api_store: bool = from_environment(
        False,
        SWITCH,
        "Keep the newest 256 responses of /v1/responses, for reading, cancelling and going on.",
        "VLLM_ENABLE_RESPONSES_API_STORE",
    )
    standalone_mode: bool = from_environment(
        False, SWITCH, "Never ask Kubernetes for the number of replicas.", "STANDALONE_MODE"
    )


class PodSettings:
    """Kubernetes"""

    deployment_name: str = from_environment(
        "llama2-7b", TEXT, "Deployment whose replicas share the mock's metrics.", "DEPLOYMENT_NAME"
    )
    pod_name: str = from_environment(
        "",
        TEXT,
        "Name of this pod, in texts and headers.",
        "POD_NAME",
        "HOSTNAME",
        default_text="the host's name",
    )
    pod_namespace: str = from_environment("default", TEXT, "Namespace of this pod.", "POD_NAMESPACE")
    default_replicas: int = from_environment(
        1, integer(1), "Replicas to assume when Kubernetes cannot be asked.", "DEFAULT_REPLICAS"
    )
    service_account: str = from_environment(
        "/var/run/secrets/kubernetes.io/serviceaccount",
        PATH,
        "Folder with the pod's token and ca.crt for the Kubernetes API.",
        "KUBERNETES_SERVICE_ACCOUNT",
    )
