# The service in a small image: no compiler, no build tools, no root. `docker build -t aftercall .`
# With the packages for an audio archive in a bucket: `docker build --build-arg EXTRA=s3 -t aftercall .`
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# The project as a wheel. Its build tools stay behind.
FROM base AS wheel
WORKDIR /src
COPY requirements-build.lock ./
RUN pip install --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY app app
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheel .

# What it stands on, exactly as locked; then the project, without the network.
FROM base AS packages
ARG EXTRA=
RUN python -m venv /opt/aftercall
COPY requirements.lock requirements-s3.lock ./
RUN /opt/aftercall/bin/pip install --no-deps --require-hashes -r requirements.lock ${EXTRA:+-r requirements-$EXTRA.lock} \
 && /opt/aftercall/bin/pip check
COPY --from=wheel /wheel /wheel
RUN /opt/aftercall/bin/pip install --no-index --no-deps /wheel/*.whl

FROM base
RUN groupadd --gid 10001 aftercall \
 && useradd --uid 10001 --gid aftercall --home-dir /data --create-home --shell /usr/sbin/nologin aftercall
COPY --from=packages /opt/aftercall /opt/aftercall
ENV PATH=/opt/aftercall/bin:$PATH
# SQLite's file lands here unless AFTERCALL_DATABASE_URL says otherwise.
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["aftercall"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
