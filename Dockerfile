# hilum's web page and REST API, without torch. Build: docker build -t hilum .
# Run: see docs/how-to/serve.md. Works with a read-only root file system and a /tmp in memory.

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/hilum && /opt/hilum/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/hilum /opt/hilum
# No account of the host has this number, and nothing in the image belongs to it.
USER 10001:10001
# matplotlib, which draws the cards, wants a folder of its own to write to.
ENV PATH=/opt/hilum/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    ORT_DISABLE_TELEMETRY=1 \
    HILUM_CACHE=/tmp/hilum
WORKDIR /tmp
EXPOSE 8600
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8600/healthz', timeout=4)"]
ENTRYPOINT ["hilum", "serve"]
CMD ["--host", "0.0.0.0"]
