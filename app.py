"""Run the mocked vLLM server: `STANDALONE_MODE=true python app.py [model] [vllm serve flags]`."""

import sys

from vllm_mock.serving.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
