"""python -m vllm_mock.simulate"""

import sys

from vllm_mock.simulate.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
