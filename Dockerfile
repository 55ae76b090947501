# One file for both images:
#   docker build -t aibrix/vllm-mock:nightly -f Dockerfile .
#   docker build -t aibrix/vllm-simulator:nightly --build-arg SIMULATION=a100 -f Dockerfile .
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS packages
ARG SIMULATION=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt requirements-simulator.txt requirements-vidur.txt ./
# What only a simulation needs stays out of the mock's image, and of vidur what its predictor does not import.
RUN python -m venv /opt/venv \
    && if [ -n "$SIMULATION" ] && [ "$SIMULATION" != "disabled" ]; then \
       grep -v ^vidur requirements-simulator.txt > without-vidur.txt \
       && /opt/venv/bin/pip install -r without-vidur.txt -r requirements-vidur.txt \
       && /opt/venv/bin/pip install --no-deps "$(grep ^vidur requirements-simulator.txt)"; \
       else /opt/venv/bin/pip install -r requirements.txt; fi \
    && /opt/venv/bin/pip uninstall -y pip setuptools
# Half of kubernetes is its asynchronous twin, which nothing here uses; the others bring 110 MB of their tests.
# hadolint ignore=DL3059
RUN rm -rf /opt/venv/lib/python*/site-packages/kubernetes/aio \
    && find /opt/venv -type d -regex '.*/\(pandas\|scipy\|sklearn\)/\(.*/\)?tests' -prune -exec rm -rf {} +

FROM python:${PYTHON_VERSION}-slim
ARG SIMULATION=""
LABEL org.opencontainers.image.title="vllm-mock" \
      org.opencontainers.image.description="A stand-in for vllm serve that needs no GPU" \
      org.opencontainers.image.source="https://github.com/vllm-project/aibrix" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SIMULATION=${SIMULATION} \
    VLLM_MOCK_CACHE=/opt/cache
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin vllm
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY app.py wsgi.py simulator.py gunicorn.conf.py config.json LICENSE ./
COPY vllm_mock ./vllm_mock
# Byte code, so that a start under a read-only root file system compiles nothing.
RUN python -m compileall -q /app /opt/venv
# The times of the default model's steps: measured profiles where they can be downloaded, else synthetic ones.
RUN if [ -n "$SIMULATION" ] && [ "$SIMULATION" != "disabled" ]; \
    then mkdir -p /opt/cache && python app.py --prepare-simulation && chmod -R a+rX /opt/cache; fi
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=10s \
  CMD ["python", "-c", "import os,urllib.request as u;u.urlopen('http://127.0.0.1:'+os.environ.get('SERVER_PORT','8000')+'/health',timeout=2)"]
CMD ["python", "app.py"]
