# The service and its workers. docs/deploy has them with PostgreSQL, a gateway and Prometheus.
#   docker build -t archcast .                              PyTorch for processors
#   docker build -t archcast:cuda --build-arg DEVICE=cuda . PyTorch for NVIDIA devices, with its CUDA libraries
#   docker run --init --stop-timeout 45 -p 127.0.0.1:8000:8000 -v archcast:/data archcast

FROM python:3.11-slim-trixie AS build
# cpu; cuda: the build that the package index has for Linux, or the one in UV_FIND_LINKS; or a version of CUDA that PyTorch is built for, such as cu128.
ARG DEVICE=cpu
# Optional: where else uv is to look for packages. Unset unless given.
ARG UV_INDEX
ARG UV_FIND_LINKS
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/archcast
RUN pip install --no-cache-dir --disable-pip-version-check "uv>=0.9,<1" \
    && uv venv "$VIRTUAL_ENV"
WORKDIR /build
# Dependencies first, so that a change of the code does not fetch them again.
COPY pyproject.toml ./
RUN case "$DEVICE" in \
      cpu | cu[0-9]*) set -- --torch-backend="$DEVICE" ;; \
      cuda) set -- ;; \
      *) echo "expected DEVICE to be cpu, cuda or such as cu128, got '$DEVICE'" >&2; exit 2 ;; \
    esac \
    && uv pip install "$@" --extra oidc --extra otel --extra postgresql --requirements pyproject.toml
COPY README.md LICENSE ./
COPY migrations migrations
COPY predictor predictor
COPY app app
RUN uv pip install --no-deps .

FROM python:3.11-slim-trixie
# For `archcast backup` and `restore`: of the database's version or newer. Its minor version is what Debian has: others vanish.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 archcast \
    && useradd --system --uid 10001 --gid archcast --home-dir /data --no-create-home archcast \
    && install --directory --owner archcast --group archcast /data
COPY --from=build /opt/archcast /opt/archcast
ENV PATH=/opt/archcast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ARCHCAST_HOST=0.0.0.0 \
    ARCHCAST_PORT=8000 \
    ARCHCAST_DATA_DIR=/data
WORKDIR /data
# By number, so that whoever forbids root can see that it is none.
USER 10001:10001
VOLUME /data
EXPOSE 8000
# Past any proxy that the environment names. A worker answers elsewhere, see docs/deploy/compose.yaml.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os; from http.client import HTTPConnection as C; c = C('127.0.0.1', int(os.environ['ARCHCAST_PORT']), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# No shell in between: signals reach the service.
ENTRYPOINT ["archcast"]
CMD ["serve"]
