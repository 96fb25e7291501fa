# syntax=docker/dockerfile:1
# PyPI's torch for Linux carries CUDA: on a machine without a GPU, give pip a CPU build of the pinned version first
# (a wheel in ./wheels is preferred over the index's).
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/proponent \
 && mkdir -p wheels \
 && /opt/proponent/bin/pip install --no-cache-dir --find-links wheels -c constraints.txt '.[postgres]'

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 proponent \
 && install -d -o proponent -g proponent /data
COPY --from=build /opt/proponent /opt/proponent
ENV PATH=/opt/proponent/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    PROPONENT_HOME=/data \
    PROPONENT_HOST=0.0.0.0 \
    PROPONENT_PORT=8000
USER proponent
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["proponent", "serve"]
