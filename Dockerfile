# syntax=docker/dockerfile:1
# The server in an image, for a CPU:
#     docker build -t musetalk-stream .
# and for the MuseTalk renderer on an NVIDIA GPU, whose libraries come with PyTorch's wheels (the
# host has the driver and the NVIDIA Container Toolkit):
#     docker build --build-arg EXTRAS=face,tracing,musetalk -t musetalk-stream:cuda .

ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS build
ARG EXTRAS=face,tracing
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY musetalk_stream musetalk_stream
COPY templates templates
COPY avatars avatars
COPY clients/web/src clients/web/src
COPY scripts/install scripts/install
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN scripts/install /opt/musetalk-stream "${EXTRAS}"

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin musetalk-stream \
    && install -d -o musetalk-stream -g musetalk-stream -m 0700 /data
COPY --from=build /opt/musetalk-stream /opt/musetalk-stream
ENV PATH=/opt/musetalk-stream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    MUSETALK_STREAM_HOST=0.0.0.0 \
    MUSETALK_STREAM_PORT=8000 \
    MUSETALK_STREAM_STATE_DIR=/data/state \
    MUSETALK_STREAM_AVATARS_DIR=/data/avatars \
    MUSETALK_STREAM_CHUNKS_DIR=/data/chunks \
    MUSETALK_STREAM_RECORDINGS_DIR=/data/recordings \
    MUSETALK_STREAM_MODELS_DIR=/data/models
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# As systemd does: what is being spoken has drain_s (30) to end. Run with --stop-timeout 45, or set
# stop_grace_period as compose.yaml does: Docker's own default is 10 s.
STOPSIGNAL SIGTERM
# Port and TLS are set by variables, not by flags of `serve`: this looks there, too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
    "import os, ssl, urllib.request as u; e = os.environ; \
    s = 'https' if e.get('MUSETALK_STREAM_TLS_CERT') else 'http'; \
    a = s + '://127.0.0.1:' + e['MUSETALK_STREAM_PORT'] + '/healthz'; \
    u.urlopen(a, timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["musetalk-stream"]
CMD ["serve"]
