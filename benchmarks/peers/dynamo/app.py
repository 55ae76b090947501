"""NVIDIA Dynamo's frontend and its mocker, an engine that batches and schedules, on this project's tokenizer.

Both processes find one another through a folder, without etcd and NATS. A step of the engine takes 20 ms, or none.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked

TOKENIZER = Path(__file__).resolve().parents[3] / "vllm_mock" / "data" / "tokenizer"
# The frontend wants to know the model's shape; nothing is computed with it.
SHAPE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 8192,
    "max_position_embeddings": 131072,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "hidden_size": 64,
    "head_dim": 64,
    "intermediate_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def model(folder: Path) -> Path:
    """A folder as of a model, with a tokenizer but no weights."""
    shutil.copytree(TOKENIZER, folder / "model")
    (folder / "model" / "config.json").write_text(json.dumps(SHAPE))
    return folder / "model"


def profile(folder: Path) -> Path:
    """Measured times as the mocker reads them: the same for every batch."""
    path = folder / "profile.npz"
    np.savez(
        path,
        prefill_isl=np.array([1.0, 1e5]),
        prefill_ttft_ms=np.array([1.0, 1.0]),
        decode_active_kv_tokens=np.array([0.0, 1e8]),
        decode_context_length=np.array([0.0, 1e6]),
        decode_itl=np.full((2, 2), float(asked.INTERVAL_MS)),
    )
    return path


def main() -> None:
    """Run both until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {**os.environ, "DYN_FILE_KV": str(folder / "discovery"), "HF_HUB_OFFLINE": "1", "DYN_LOG": "warn"}
        pace = ["--speedup-ratio", "0"] if asked.instant() else ["--planner-profile-data", str(profile(folder))]
        mocker = ["--model-path", str(model(folder)), "--model-name", asked.MODEL, "--max-num-seqs", "2000"]
        frontend = ["--http-host", "127.0.0.1", "--http-port", str(asked.port())]
        commands = (["dynamo.mocker", *mocker, *pace], ["dynamo.frontend", *frontend])
        running = [
            subprocess.Popen([sys.executable, "-m", *command, "--discovery-backend", "file"], env=environ)
            for command in commands
        ]
        try:
            running[0].wait()
        finally:
            for process in running:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
