# Two images: `headrace`, the command with SQL Server's driver, and `connect`, Debezium's image with the plugins of the
# stack without Docker. requirements.lock has the versions of Python packages, stack/pom.xml those of plugins.

ARG PYTHON=python:3.11-slim-bookworm
ARG MAVEN=maven:3.9.9-eclipse-temurin-17
ARG DEBEZIUM=quay.io/debezium/connect:3.7.0.Final

# ---- headrace ---------------------------------------------------------------------------------------------------

FROM ${PYTHON} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir --disable-pip-version-check "$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)"
COPY . .
# The lock file has every package with its hashes. The wheel's metadata says which of them this image needs.
RUN uv build --wheel --out-dir /wheel \
 && uv venv /opt/headrace \
 && uv pip install --no-cache --python /opt/headrace/bin/python --constraints requirements.lock \
      "$(echo /wheel/headrace-*.whl)[sqlserver,s3]"

FROM ${PYTHON} AS headrace
LABEL org.opencontainers.image.title="headrace" \
      org.opencontainers.image.description="Change data capture from Postgres into SQL Server reporting, proven right row by row" \
      org.opencontainers.image.licenses="MIT"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgssapi-krb5-2 unixodbc \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin headrace \
 && install --directory --owner=headrace --group=headrace /archive
COPY --from=build /opt/headrace /opt/headrace
# Health and metrics are read from outside the container, on the same port for every worker.
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADRACE_ENRICH__HTTP_HOST=0.0.0.0 HEADRACE_ENRICH__HTTP_PORT=8080 \
    HEADRACE_SINK__HTTP_HOST=0.0.0.0 HEADRACE_SINK__HTTP_PORT=8080 \
    HEADRACE_ARCHIVE__HTTP_HOST=0.0.0.0 HEADRACE_ARCHIVE__HTTP_PORT=8080 \
    HEADRACE_WATCH__HTTP_HOST=0.0.0.0 HEADRACE_WATCH__HTTP_PORT=8080
USER 10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["headrace"]
CMD ["--help"]

# ---- connect ----------------------------------------------------------------------------------------------------

FROM ${MAVEN} AS plugins
WORKDIR /stack
COPY stack/pom.xml ./
COPY stack/kafka/pom.xml kafka/
COPY stack/plugins/pom.xml plugins/
COPY stack/mongo/pom.xml mongo/
RUN mvn --batch-mode --no-transfer-progress --projects plugins -Dheadrace.out=/out \
      dependency:copy-dependencies@avro-converter dependency:unpack@debezium

FROM ${DEBEZIUM} AS connect
LABEL org.opencontainers.image.title="headrace-connect" \
      org.opencontainers.image.licenses="Apache-2.0"
# These replace the image's own plugins, so that it loads the versions that the tests without Docker run.
COPY --from=plugins /out/plugins /kafka/headrace
ENV CONNECT_PLUGIN_PATH=/kafka/headrace
