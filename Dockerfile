# One image, with a command for each process: python -m services.checkout, python -m services.payment, python -m three_pillar_demo.web.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/build.lock
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY telemetry telemetry
COPY demo demo
# The build tools stay in this stage: /venv, which is copied to the final image, has none, not even pip.
RUN (cd telemetry && python -m hatchling build -t wheel -d /src/dist) \
    && python -m hatchling build -t wheel \
    && pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM python:3.13-slim
# The base image's own pip is removed too.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /venv /venv
# The services are not part of a wheel: they are started from this folder.
WORKDIR /app
COPY services services
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DEMO_HOME=/app
USER 10001:10001
CMD ["python", "-m", "services.checkout"]
