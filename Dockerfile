# One image for the server, Chroma and MLflow: requirements.lock has all three.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock ./
# The lock has its hash of uv like any other; setuptools builds the wheel.
RUN awk '/^[^ ]/ { wanted = /^(uv|setuptools)==/ } wanted' requirements.lock > tools.txt \
    && pip install --no-cache-dir --require-hashes -r tools.txt
COPY pyproject.toml ./
# Of what is locked, only what running needs.
RUN uv venv /app \
    && uv pip install --no-cache --python /app --require-hashes --constraints requirements.lock \
        -r pyproject.toml --extra local --extra postgres --extra serve --extra ui
COPY . ./
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && uv pip install --no-cache --python /app --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
# The embedded LM is linked to libgomp.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# Named volumes take over whom these folders belong to.
RUN useradd --system --create-home personaagent \
    && install --directory --owner personaagent \
        /var/lib/personaagent /var/lib/personaagent/home /var/lib/personaagent/models /var/lib/chroma /var/lib/mlflow
COPY --from=build /app /app
# Without the internet, MLflow would wait for ever for a table of prices that LiteLLM downloads.
ENV PATH=/app/bin:$PATH \
    DO_NOT_TRACK=1 \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    MLFLOW_DISABLE_TELEMETRY=true \
    PERSONAAGENT_HOME=/var/lib/personaagent/home \
    PERSONAAGENT_MODELS=/var/lib/personaagent/models
USER personaagent
WORKDIR /var/lib/personaagent
EXPOSE 8000
CMD ["personaagent", "serve", "--host", "0.0.0.0"]
