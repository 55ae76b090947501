"""The parts of one worker process, put together once and handed to the routes."""

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm_mock.elastic_ep import ElasticEP
from vllm_mock.engine import Engine, FixedEngine
from vllm_mock.engine.sizing import sized
from vllm_mock.engine_control import EngineControl
from vllm_mock.faults import Faults
from vllm_mock.generation import Generator
from vllm_mock.kv_events.service import KVEventService, block_hasher, open_service
from vllm_mock.kv_transfer import KVTransfer, pd_contract
from vllm_mock.lifecycle import Lifecycle
from vllm_mock.lora import LoRAAdapters
from vllm_mock.metrics import HttpMetrics, Metrics
from vllm_mock.metrics.deployment_watch import DeploymentWatch, in_cluster
from vllm_mock.metrics.family_types import family_types
from vllm_mock.metrics.override_store import OverrideError, Overrides
from vllm_mock.metrics.presentation import Presentation
from vllm_mock.metrics.replicas import ReplicaCount
from vllm_mock.metrics.workers import WorkersPage
from vllm_mock.models import ModelRegistry
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.pd_contract import PDContract
from vllm_mock.recorder import Recorder
from vllm_mock.serving.arguments import RANK_VARIABLE, WORKERS_VARIABLE
from vllm_mock.serving.watch import ConnectionWatcher
from vllm_mock.settings import Settings, SettingsError
from vllm_mock.shared import Peers, SharedStore, shared_store
from vllm_mock.tokenizer import Tokenizer, load_tokenizer
from vllm_mock.version import VLLM_VERSION
from vllm_mock.weights import Weights

if TYPE_CHECKING:
    from vllm_mock.engine.step_time import StepTime


@dataclass(slots=True)
class Services:
    """Everything a view needs; one per worker process. `generating`: requests that are being answered now."""

    settings: Settings
    tokenizer: Tokenizer
    generator: Generator
    engine: Engine
    metrics: Metrics
    http_metrics: HttpMetrics
    metrics_page: Presentation
    overrides: Overrides
    replicas: ReplicaCount
    peers: Peers
    store: SharedStore
    control: EngineControl
    elastic_ep: ElasticEP
    weights: Weights
    models: ModelRegistry
    lifecycle: Lifecycle
    watcher: ConnectionWatcher
    limits: Limits
    fingerprint: str | None
    kv_transfer: KVTransfer
    pd_contract: PDContract | None
    recorder: Recorder | None
    faults: Faults
    kv_events: KVEventService | None = None
    generating: int = 0

    def drain(self) -> None:
        """Take no more requests, give the running ones --shutdown-timeout seconds, abort the rest."""
        self.lifecycle.drain(self.settings.shutdown_timeout, self.engine.abort_all)
        if self.kv_events is not None:
            self.kv_events.close()


def build_services(settings: Settings) -> Services:
    """Compose the parts; raises SettingsError when the tokenizer, METRICS_OVERRIDES or a socket cannot be used."""
    settings = sized(settings)
    tokenizer = load_tokenizer(settings)
    rank, ranks = data_parallel_rank(), data_parallel_size(settings)
    store = shared_store()
    peers = Peers(rank, ranks, store.identity)
    simulated = _step_time(settings)
    metrics = Metrics(settings, rank, ranks, None if simulated is None else _described(settings, simulated))
    engine = _engine(settings, metrics, simulated)
    adapters = LoRAAdapters(settings, store)
    metrics.attach(engine, lambda: bool(adapters.all()))
    overrides = _overrides(settings, metrics, store)
    replicas = ReplicaCount(store, settings.default_replicas)
    page = Presentation(settings, WorkersPage(metrics, peers, rank).page, overrides, replicas)
    return Services(
        settings=settings,
        tokenizer=tokenizer,
        generator=Generator(settings, tokenizer),
        engine=engine,
        metrics=metrics,
        http_metrics=metrics.http,
        metrics_page=page,
        overrides=overrides,
        replicas=replicas,
        peers=peers,
        store=store,
        control=EngineControl(engine, metrics, store, peers),
        elastic_ep=ElasticEP(store),
        weights=Weights(settings.model, store),
        models=ModelRegistry(settings, adapters),
        limits=request_limits(settings, tokenizer),
        lifecycle=Lifecycle(settings.startup_duration),
        watcher=ConnectionWatcher(),
        fingerprint=system_fingerprint(settings),
        kv_transfer=KVTransfer(settings, rank, ranks),
        pd_contract=pd_contract(settings),
        recorder=Recorder(settings) if settings.pd_role else None,
        faults=Faults(store, peers, engine.abort_all, page.render),
        kv_events=open_service(settings, engine, rank),
    )


def _step_time(settings: Settings) -> "StepTime | None":
    """The times of a simulated GPU's steps, None without a simulation."""
    if not settings.simulation:
        return None
    from vllm_mock.engine.step_time import step_time

    return step_time(settings)


def _described(settings: Settings, simulated: "StepTime") -> dict[str, str]:
    return {"device": settings.simulation, "step_time": simulated.name, "origin": simulated.origin}


def _engine(settings: Settings, metrics: Metrics, simulated: "StepTime | None") -> Engine:
    hasher = block_hasher(settings)
    if simulated is None:
        return FixedEngine(settings, metrics, hasher=hasher)
    from vllm_mock.engine.simulated import Simulator

    return Simulator(settings, simulated, metrics, hasher)


def _overrides(settings: Settings, metrics: Metrics, store: SharedStore) -> Overrides:
    try:
        return Overrides(store, family_types(settings.llm_engine), metrics.histograms(), settings.metrics_overrides)
    except OverrideError as refusal:
        raise SettingsError(f"METRICS_OVERRIDES: {refusal}") from None


def watch_replicas(services: Services) -> None:
    """Follow this pod's Deployment, in a cluster: the first worker does it for all."""
    settings = services.settings
    folder = settings.service_account
    if settings.standalone_mode or data_parallel_rank() != 0 or not in_cluster(folder):
        return
    DeploymentWatch(services.replicas, settings.deployment_name, settings.pod_namespace, folder).start()


def request_limits(settings: Settings, tokenizer: Tokenizer) -> Limits:
    """What requests are checked against."""
    return Limits(
        model=settings.served_model_name[0],
        max_model_len=settings.max_model_len,
        vocab_size=tokenizer.vocab_size,
        max_chars_per_token=tokenizer.max_chars_per_token,
        max_logprobs=settings.max_logprobs,
        max_sequences=settings.max_n_sequences,
        data_parallel_size=data_parallel_size(settings),
        trust_request_chat_template=settings.trust_request_chat_template,
        trust_request_mm_kwargs=settings.trust_request_mm_kwargs,
        enable_auto_tool_choice=settings.enable_auto_tool_choice,
        tool_call_parser=settings.tool_call_parser if settings.enable_auto_tool_choice else None,
        exclude_tools_when_tool_choice_none=settings.exclude_tools_when_tool_choice_none,
        reasoning_parser=settings.reasoning_parser,
        structured_outputs_backend=settings.structured_outputs_config.get("backend", "auto"),
        chat_template_content_format=settings.chat_template_content_format,
        disabled_thinking_effort=disabled_thinking_effort(settings, tokenizer),
        default_chat_template_kwargs=settings.default_chat_template_kwargs,
    )


def disabled_thinking_effort(settings: Settings, tokenizer: Tokenizer) -> str:
    """The effort that stands for disabled thinking: a template that cannot switch it off is asked for little."""
    chosen = settings.anthropic_disabled_thinking_effort
    if chosen != "auto":
        return chosen
    return "none" if any("enable_thinking" in source for source in tokenizer.chat_templates.values()) else "low"


def system_fingerprint(settings: Settings) -> str | None:
    """`vllm-VERSION[-tpN][-ppN][-dpN][-ep]-HASH` as --fingerprint-mode asks; the hash tells configurations apart."""
    mode = settings.fingerprint_mode
    if mode == "none":
        return None
    if mode == "custom":
        return settings.fingerprint_value
    parallel = ""
    if mode == "full":
        sizes = (
            ("tp", settings.tensor_parallel_size),
            ("pp", settings.pipeline_parallel_size),
            ("dp", settings.data_parallel_size),
        )
        parallel = "".join(f"-{name}{size}" for name, size in sizes if size > 1)
        if settings.enable_expert_parallel:
            parallel += "-ep"
    described = repr(sorted(vars(settings).items(), key=lambda item: item[0]))
    return f"vllm-{VLLM_VERSION}{parallel}-{hashlib.sha256(described.encode()).hexdigest()[:8]}"


def data_parallel_rank() -> int:
    """The rank that the master gave this worker, 0 outside gunicorn."""
    return int(os.environ.get(RANK_VARIABLE, "0"))


def data_parallel_size(settings: Settings) -> int:
    """How many ranks there are: gunicorn's number of workers, which its -w may have set, or the flag's."""
    return int(os.environ.get(WORKERS_VARIABLE, settings.data_parallel_size))
