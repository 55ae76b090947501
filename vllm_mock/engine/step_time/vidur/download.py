"""`python -m vllm_mock.engine.step_time.vidur.download COMPUTE NETWORK FOLDER` fetches two of vidur's data sets.

They are those that vidur's predictor would fetch from Hugging Face; FOLDER then has compute/ and network/.
"""

import sys


def main(compute: str, network: str, folder: str) -> None:
    """Download both; the exit code tells whether they are there."""
    from huggingface_hub import snapshot_download

    for name, part in ((compute, "compute"), (network, "network")):
        snapshot_download(repo_id=name, repo_type="dataset", local_dir=f"{folder}/{part}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever the network or its libraries come up with
        sys.exit(f"vidur: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason is given'}")
