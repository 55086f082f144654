# syntax=docker/dockerfile:1
# The operator; the same image runs db-init inside Google Cloud (python -m nuages.dbinit).
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH="/opt/venv/bin:$PATH"
WORKDIR /src
COPY requirements.txt .
RUN pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY operator ./operator
RUN pip install --no-deps .

FROM python:${PYTHON_VERSION}-slim
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/venv /opt/venv
WORKDIR /tmp
# Numeric: the kubelet cannot tell that a name is not root's (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["nuages"]
CMD ["run"]
