"""The flags of `vllm serve` that mean nothing to a mock: accepted, checked, and named once in the log.

One line each: the names, then the notation of the value: switch (with its negation), latch (a switch
without), int, float, human (4k), text, json (an object), json/text, or the possible words. `?` also admits
None, `...` takes several words. Lines with # are vLLM's own headings.
"""

from .flag import Flag, negations
from .kinds import LATCH, SWITCH, TEXT, Kind, human, integer, json_object, many, number, optional, single

TABLE = """\
# General
--headless latch
--api-server-count -asc int
--grpc latch
--aggregate-engine-logging latch
--fail-on-environ-validation switch
--gdn-prefill-backend flashinfer|triton|cutedsl|aiter_flydsl|sycl
--kda-prefill-backend auto|triton|flashkda|flashinfer|fused
--kda-decode-backend auto|native|flashinfer|triton
--enable-log-requests switch
# Frontend
--reasoning-effort-map json
--tool-strict-level auto|function|parameter?
--tool-server text?
--max-log-len int?
--enable-log-outputs switch
--enable-log-deltas switch
--cohere-is-reasoning-model switch
--cohere-format text
--log-error-stack switch
--grpc-port int?
--data-parallel-supervisor-port int
--dp-supervisor-probe-interval-s float
--dp-supervisor-probe-timeout-s float
--dp-supervisor-probe-failure-threshold int
--middleware text
--enable-offline-docs switch
--enable-flash-late-interaction switch
# ModelConfig
--generation-config text
--logprobs-mode raw_logprobs|processed_logprobs|raw_logits|processed_logits
--runner auto|draft|generate|pooling
--convert auto|classify|embed|none
--tokenizer-mode text
--dtype auto|bfloat16|float|float16|float32|half
--hf-config-path text?
--allowed-local-media-path text
--allowed-media-domains text? ...
--code-revision text?
--quantization-config json?
--allow-deprecated-quantization switch
--enforce-eager switch
--enable-return-routed-experts switch
--return-sampling-mask switch
--use-fp64-gumbel switch
--enable-trace-replay switch
--disable-sliding-window switch
--disable-cascade-attn switch
--skip-tokenizer-init switch
--enable-prompt-embeds switch
--config-format text
--hf-overrides json/text
--model-class-overrides json
--pooler-config json?
--enable-sleep-mode switch
--sleep-mode-backend text
--sleep-mode-offload-cudagraph switch
--sleep-preserve-parameter-names text ...
--enable-cumem-allocator switch
--enable-nccl-comm-suspend switch
--model-impl text
--logits-processors text? ...
--io-processor-plugin text?
--renderer-num-workers int
# LoadConfig
--load-format text
--download-dir text?
--safetensors-load-strategy eager|lazy|prefetch|torchao?
--safetensors-prefetch-num-threads int
--safetensors-prefetch-block-size human
--model-loader-extra-config json/text
--ignore-patterns text ...
--use-tqdm-on-load switch
--pt-load-map-location json/text
# AttentionConfig
--attention-backend text?
# MambaConfig
--mamba-backend text
--mamba-ssu-algorithm auto|horizontal|simple|vertical?
--enable-mamba-cache-stochastic-rounding switch
--mamba-cache-philox-rounds int
# StructuredOutputsConfig
# ParallelConfig
--distributed-executor-backend text?
--master-addr text
--master-port int
--nnodes -n int
--node-rank -r int
--distributed-timeout-seconds int?
--cpu-distributed-timeout-seconds int?
--numa-bind switch
--numa-bind-nodes int? ...
--numa-bind-cpus text? ...
--device-ids text
--decode-context-parallel-size -dcp int
--dcp-comm-backend a2a|ag_rs?
--dcp-q-replicate switch
--dcp-kv-cache-interleave-size int
--cp-kv-cache-interleave-size int
--prefill-context-parallel-size -pcp int
--data-parallel-rank -dpn int
--data-parallel-start-rank -dpr int
--data-parallel-size-local -dpl int
--data-parallel-address -dpa text
--data-parallel-rpc-port -dpp int
--data-parallel-backend -dpb text
--data-parallel-hybrid-lb -dph switch
--data-parallel-external-lb -dpe switch
--data-parallel-multi-port-external-lb -dpm latch
--enable-hc-sp switch
--enable-batch-sharded-sampling switch
--enable-ep-weight-filter switch
--all2all-backend allgather_reducescatter|deepep_high_throughput|deepep_low_latency|deepep_v2|\
flashinfer_all2allv|flashinfer_nvlink_one_sided|flashinfer_nvlink_two_sided|moonep|mori_high_throughput|\
mori_low_latency|naive|nixl_ep|pplx
--enable-dbo switch
--enable-shm-tensor-arena switch
--ubatch-size int
--enable-elastic-ep switch
--elastic-ep-max-dp-size int
--dbo-decode-token-threshold int
--dp-sync-interval int
--dbo-prefill-token-threshold int
--disable-nccl-for-dp-synchronization switch
--enable-eplb switch
--eplb-config json
--expert-placement-strategy linear|round_robin
--max-parallel-loading-workers int?
--ray-workers-use-nsight switch
--disable-custom-all-reduce switch
--worker-cls text
--worker-extension-cls text
--enable-fault-tolerance switch
--fault-tolerance-config json
# CacheConfig
--kv-cache-memory-bytes human?
--prefix-cache-retention-interval int?
--kv-cache-dtype-skip-layers text ...
--kv-sharing-fast-prefill switch
--swa-bounded-replay switch
--mamba-cache-dtype auto|bfloat16|float16|float32
--mamba-ssm-cache-dtype auto|bfloat16|float16|float32
--mamba-block-size int?
--prefix-match-unit int?
--mamba-cache-mode align|none
--enable-mamba-shared-prefix-checkpoint switch
--replayssm-buffer-len int
--use-replayssm switch
--kv-offloading-size float?
--kv-offloading-backend lmcache|native
# OffloadConfig
--offload-backend auto|prefetch|uva
--cpu-offload-gb float
--cpu-offload-params text ...
--offload-group-size int
--offload-num-in-group int
--offload-prefetch-step int
--offload-params text ...
# MultiModalConfig
--language-model-only switch
--limit-mm-per-prompt json
--enable-mm-embeds switch
--media-io-kwargs json
--mm-processor-kwargs json?
--mm-processor-cache-gb float
--mm-processor-cache-type lru|shm
--mm-hasher-algorithm blake3|sha256|sha512
--mm-shm-cache-max-object-size-mb int
--mm-encoder-only switch
--mm-encoder-tp-mode data|weights
--mm-encoder-attn-backend text?
--mm-encoder-attn-dtype fp8?
--mm-encoder-fp8-scale-path text?
--mm-encoder-fp8-scale-save-path text?
--mm-encoder-fp8-scale-save-margin float
--interleave-mm-strings switch
--skip-mm-profiling switch
--video-pruning-rate float?
--video-pruning-method evs|vidcom2
--mm-tensor-ipc direct_rpc|torch_shm
--mm-processor-device auto|cpu
--mm-ipc-gpu-memory-gb float
--mm-device-do-normalize switch
# LoRAConfig
--lora-dtype auto|bfloat16|float16
--enable-tower-connector-lora switch
--fully-sharded-loras switch
--lora-target-modules text? ...
--default-mm-loras json?
--specialize-active-lora switch
--enable-mixed-moe-lora-format switch
--enable-moe-shared-loras switch
--max-lora-cls-labels int?
# LoggingConfig
--logging-config json
--log-level CRITICAL|ERROR|WARNING|INFO|DEBUG|NOTSET
--log-config-file text
# ObservabilityConfig
--show-hidden-metrics-for-version text?
--otlp-traces-endpoint text?
--collect-detailed-traces all|model|worker? ...
--per-request-spec-decode-metrics detailed|none|summary
--cudagraph-metrics switch
--enable-layerwise-nvtx-tracing switch
--enable-mfu-metrics switch
--enable-logging-iteration-details switch
--jit-monitor-mode error|warn
--jit-monitor-verbose switch
# SchedulerConfig
--max-num-scheduled-tokens human?
--max-num-active-seqs int?
--long-prefill-token-threshold-adaptive switch
--disable-chunked-mm-input switch
--scheduler-cls text?
--watermark float
--prefill-schedule-interval int
--disable-hybrid-kv-cache-manager switch
# CompilationConfig
--cudagraph-capture-sizes int ...
--max-cudagraph-capture-size int
# KernelConfig
--ir-op-priority json
--enable-flashinfer-autotune switch
--monokernel switch
--moe-backend aiter|aiter_mega_moe|aiter_triton_mxfp4_bf16|aiter_triton_mxfp4_mxfp4|auto|b12x|\
batched_triton|cutlass|deep_gemm|deep_gemm_mega_moe|emulation|flashinfer_b12x|flashinfer_cutedsl|\
flashinfer_cutlass|flashinfer_moe_ep_cutedsl|flashinfer_moe_ep_mega_deep_gemm|flashinfer_trtllm|flydsl|\
hpc|humming|marlin|rdna3|triton|triton_unfused
--linear-backend aiter|auto|b12x|conch|cutlass|deep_gemm|emulation|exllama|fbgemm|flashinfer_b12x|\
flashinfer_cudnn|flashinfer_cutedsl|flashinfer_cutlass|flashinfer_trtllm|humming|machete|marlin|torch|\
triton|xpu|xpu_woq
--sparse-indexer-topk-backend aiter|auto|cooperative|deep_select|flashinfer|per_row|persistent|torch
# VllmConfig
--speculative-config -sc json?
--spec-method bailing_hybrid_mtp|bailing_hybrid_v3_mtp|custom_class|deepseek_mtp|dflash|dots3_note_mtp|\
draft_model|dspark|eagle|eagle3|ernie_mtp|exaone4_5_mtp|exaone_moe_mtp|extract_hidden_states|gemma4_mtp|\
glm4_moe_lite_mtp|glm4_moe_mtp|glm5_next_mtp|glm_ocr_mtp|hy_v3_mtp|hy_v4_mtp|inkling_mtp|kimi_k3_mtp|\
longcat_flash_mtp|mimo_mtp|mimo_v2_mtp|minimax_m3_mtp|mtp|nemotron_h_mtp|ngram|ngram_gpu|\
pangu_ultra_moe_mtp|qwen3_5_mtp|qwen3_next_mtp|qwen4_exp_mtp|step3p5_mtp|step5_mtp|suffix?
--spec-model text?
--spec-tokens int
--watermark-config json?
--diffusion-config -dc json?
--ec-transfer-config json?
--ec-manager-config json
--compilation-config -cc json
--attention-config -ac json
--engram-config json?
--reasoning-config json?
--kernel-config json
--additional-config json/text
--aux-output-config json
--watchdog-config json
--optimization-level -O text
--performance-mode balanced|interactivity|throughput
--weight-transfer-config json?
"""


def _text_or_json(text: str) -> str:
    if text.lstrip().startswith("{"):
        _KINDS["json"].convert([text])
    return text


_KINDS = {
    "switch": SWITCH,
    "latch": LATCH,
    "int": integer(),
    "float": number(),
    "human": human(),
    "text": TEXT,
    "json": json_object(),
    "json/text": single(_text_or_json, "a text or a JSON object", "JSON", is_json=True),
}


def _words(names: list[str]) -> Kind:
    """One of `names`; vLLM takes some of them in capitals and with dashes too."""

    def parse(text: str) -> str:
        if text not in names and text.lower().replace("-", "_") not in names:
            raise ValueError
        return text

    return single(parse, f"one of {', '.join(names)}", "{" + ",".join(names) + "}")


def _kind(notation: str) -> Kind:
    plain = notation.removesuffix("?")
    kind = _KINDS.get(plain) or _words(plain.split("|"))
    return optional(kind) if notation.endswith("?") else kind


def inert_flags() -> list[Flag]:
    """The table's rows, in its order."""
    return [flag for _, flags in inert_topics() for flag in flags]


def inert_topics() -> list[tuple[str, list[Flag]]]:
    """vLLM's headings, each with its rows."""
    topics: list[tuple[str, list[Flag]]] = []
    for line in TABLE.splitlines():
        if line.startswith("#"):
            topics.append((line.removeprefix("# "), []))
        else:
            topics[-1][1].append(_flag(line))
    return topics


def _flag(line: str) -> Flag:
    words = line.removesuffix(" ...").split()
    names, kind = tuple(words[:-1]), _kind(words[-1])
    if line.endswith(" ..."):
        kind = many(kind)
    dest = names[0].removeprefix("--").replace("-", "_")
    return Flag(dest, kind, names=names, negations=negations(kind, names), acts=False)
