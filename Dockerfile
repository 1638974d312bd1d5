# One image for every function: FUNCTION_TARGET picks which one it is. `docker build .` makes the image of the
# storage functions; `docker build --target preproc .` the one with what preprocessing needs on top.
#
# The result holds an interpreter and a virtual environment, no compiler and no package index client; it runs as a
# user that is not root, on a root file system that may be read-only.

# The base of both stages. For builds that repeat, name it by digest:
#   --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# ---- the environment: wheels only, so that nothing is ever compiled, and each with the hash in a lock file
FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/datastore
WORKDIR /src
# The requirements have stages of their own: they change more seldom than the source.
COPY requirements*.lock ./
RUN pip --python /opt/datastore/bin/python install --require-hashes --requirement requirements.lock \
 && pip install --require-hashes --requirement requirements-build.lock
# --build-arg S3=1 for ARCHIVE_URL=s3://…: 30 MB more, which other stores need not carry.
ARG S3=
RUN test -z "${S3}" || pip --python /opt/datastore/bin/python install --require-hashes --requirement requirements-s3.lock
# --build-arg OTEL=1 for OTEL_EXPORTER_OTLP_ENDPOINT: 10 MB more.
ARG OTEL=
RUN test -z "${OTEL}" || pip --python /opt/datastore/bin/python install --require-hashes --requirement requirements-otel.lock

FROM environment AS build
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY shared shared
COPY functions functions
# Without isolation, which would fetch a build backend that is in no lock file.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && pip --python /opt/datastore/bin/python install --no-deps --no-index /dist/*.whl

FROM environment AS build-preproc
RUN pip --python /opt/datastore/bin/python install --require-hashes --requirement requirements-preproc.lock
COPY --from=build /dist /dist
RUN pip --python /opt/datastore/bin/python install --no-deps --no-index /dist/*.whl

# ---- what runs
FROM ${PYTHON_IMAGE} AS base
# pip is of no use in an image whose environment is finished.
RUN pip uninstall --yes --root-user-action=ignore pip
ENV PATH=/opt/datastore/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FUNCTION_TARGET=datastore \
    ROOT=/store \
    SERVURL=:8080
# The claims are mounted at /store/appdata and /store/datavar; without them the store lives in the container.
RUN mkdir -p /store/appdata /store/datavar && chown -R 65532:65532 /store
WORKDIR /store
# A number, since Kubernetes cannot tell from a name that it is not root's.
USER 65532:65532
EXPOSE 8080
# No shell in between: SIGTERM reaches the server, which finishes what is under way. PORT, which Knative sets, wins
# over the port in SERVURL.
ENTRYPOINT ["python", "-m", "shared.serve"]

FROM base AS preproc
ENV FUNCTION_TARGET=preproc
COPY --from=build-preproc /opt/datastore /opt/datastore

FROM base AS datastore
COPY --from=build /opt/datastore /opt/datastore
