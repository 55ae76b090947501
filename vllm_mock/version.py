"""The vLLM release whose HTTP contract this server keeps."""

VLLM_VERSION = "0.33.0"
