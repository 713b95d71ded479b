# The team server in one container:
#   docker build -t devflow . && docker run -p 8080:8080 -v devflow-data:/data devflow

FROM python:3.14-slim AS builder
COPY requirements/server.txt /tmp/requirements.txt
# The environment gets no pip of its own: nothing is ever installed into a running container.
RUN python -m venv --without-pip /opt/devflow \
 && python -m pip --python /opt/devflow install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r /tmp/requirements.txt
# The agent's wheel, which the server gives to whoever is to install it.
COPY requirements/build.txt /tmp/build.txt
RUN python -m venv --without-pip /opt/build \
 && python -m pip --python /opt/build install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r /tmp/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY agent /source/agent
COPY devflow /source/devflow
RUN cd /source && /opt/build/bin/python -m hatchling build --target wheel --directory /app/dist
COPY app.py gunicorn.conf.py /app/
COPY devflow /app/devflow
COPY templates /app/templates
COPY translations /app/translations
COPY static /app/static
RUN python -m compileall -q /app

FROM python:3.14-slim
LABEL org.opencontainers.image.title="DevFlow Monitor" \
      org.opencontainers.image.description="Team server of DevFlow Monitor" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin devflow \
 && install --directory --owner=devflow --group=devflow --mode=0700 /data
COPY --from=builder /opt/devflow /opt/devflow
COPY --from=builder /app /app
WORKDIR /app
ENV PATH=/opt/devflow/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEVFLOW_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-m", "devflow.healthcheck"]
CMD ["gunicorn", "--config", "gunicorn.conf.py"]
