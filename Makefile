# Everything works from a fresh clone: the virtual environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Where the endpoint scripts look, for test-url.
BASE_URL ?= http://localhost:8000
API_KEY ?= test-key-1234567890
DOCKER ?= docker
IMAGES := aibrix

.PHONY: fuzz soak serve test test-vidur lint bench bench-peers clean test-url docker-build docker-build-simulator docker-build-simulator-a40 \
	docker-build-all docker-check docker-check-simulator kind-load kind-load-simulator kind-load-simulator-a40 deploy

$(VENV)/.serve: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.serve

# vidur's predictor and what it imports, beside the virtual environment: tests of it alone want it.
.vidur/.installed: requirements-vidur.txt requirements-simulator.txt $(VENV)/.dev
	$(BIN)/pip install -q --disable-pip-version-check --no-compile --target .vidur -r requirements-vidur.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-compile --target .vidur --no-deps \
		"$$(grep ^vidur requirements-simulator.txt)"
	touch $@

serve: $(VENV)/.serve
	STANDALONE_MODE=true $(BIN)/python app.py $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

# Tests that train vidur's own predictor.
test-vidur: .vidur/.installed
	VIDUR_PACKAGES=.vidur $(BIN)/pytest tests/test_vidur.py $(ARGS)

# New requests each time: make fuzz FUZZ_EXAMPLES=100000
FUZZ_EXAMPLES ?= 20000
fuzz: $(VENV)/.dev
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -q tests/test_fuzz.py

# Half an hour of mixed traffic, then the question what was lost: make soak ARGS="--duration 5"
soak: $(VENV)/.dev
	$(BIN)/python benchmarks/soak.py $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py $(ARGS)

# This server beside others that do the same work: they are installed into an environment of their own.
bench-peers: $(VENV)/.dev
	$(BIN)/python benchmarks/compare.py $(ARGS)

# The endpoint scripts against a server that runs somewhere: make test-url BASE_URL=http://localhost:8000
test-url: $(VENV)/.dev
	$(BIN)/python test_openai_endpoints.py --base-url $(BASE_URL)/v1 --api-key $(API_KEY)
	$(BIN)/python test_vllm_endpoints.py --base-url $(BASE_URL) --api-key $(API_KEY)

docker-build:
	$(DOCKER) build -t $(IMAGES)/vllm-mock:nightly -t $(IMAGES)/vllm-mock:latest -f Dockerfile .

docker-build-simulator:
	$(DOCKER) build -t $(IMAGES)/vllm-simulator:nightly -t $(IMAGES)/vllm-simulator:latest \
		--build-arg SIMULATION=a100 -f Dockerfile .

docker-build-simulator-a40:
	$(DOCKER) build -t $(IMAGES)/vllm-simulator-a40:nightly -t $(IMAGES)/vllm-simulator-a40:latest \
		--build-arg SIMULATION=a40 -f Dockerfile .

docker-build-all: docker-build docker-build-simulator docker-build-simulator-a40

# Images into the nodes of a kind cluster.
kind-load:
	kind load docker-image $(IMAGES)/vllm-mock:nightly

kind-load-simulator:
	kind load docker-image $(IMAGES)/vllm-simulator:nightly

kind-load-simulator-a40:
	kind load docker-image $(IMAGES)/vllm-simulator-a40:nightly

# deploy-simulator applies config/simulator and clean-simulator deletes it, and so on for each folder of config.
deploy: deploy-mock

deploy-%:
	kubectl apply -k config/$*

clean-%:
	kubectl delete --ignore-not-found -k config/$*

# The Dockerfile's steps without a docker engine, in minutes (Linux, root).
docker-check: $(VENV)/.dev
	$(BIN)/hadolint Dockerfile
	$(BIN)/python scripts/docker_check.py

docker-check-simulator: $(VENV)/.dev
	$(BIN)/python scripts/docker_check.py --build-arg SIMULATION=a100

clean:
	rm -rf $(VENV) .vidur .pytest_cache .mypy_cache .ruff_cache
