# The service. Build: docker build -t archcast .   Run: docker run -p 127.0.0.1:8000:8000 -v archcast:/data archcast

FROM python:3.11-slim AS build
# Optional, as --build-arg: where uv is to look for packages, such as CPU-only builds of torch. Unset unless given.
ARG UV_INDEX
ARG UV_FIND_LINKS
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check "uv>=0.9,<1"
WORKDIR /srv/archcast
# Dependencies first, so that a change of the code does not fetch them again.
COPY pyproject.toml ./
RUN uv sync --no-dev --extra postgresql --no-install-project --no-cache
COPY . .
RUN uv sync --no-dev --extra postgresql --no-cache

FROM python:3.11-slim
COPY --from=build /srv/archcast /srv/archcast
RUN useradd --system --uid 10001 --create-home archcast \
    && mkdir /data \
    && chown archcast /data
ENV PATH=/srv/archcast/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ARCHCAST_HOST=0.0.0.0 \
    ARCHCAST_PORT=8000 \
    ARCHCAST_DATA_DIR=/data
WORKDIR /srv/archcast
USER archcast
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"ARCHCAST_PORT\"]}/healthz', timeout=4)"]
CMD ["archcast", "serve"]
