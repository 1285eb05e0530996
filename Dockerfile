# One image for the services, the web UI and the demo command. The command selects the process:
#   python -m services.checkout
#   python -m services.payment
#   python -m three_pillar_demo.web
#   demo verify

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/build.lock
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY telemetry telemetry
COPY demo demo
# The build tools stay in this stage. /venv, which is copied to the final image, contains none of them,
# not even pip.
RUN python -m hatchling build -t wheel \
    && pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM python:3.13-slim
# The base image's own pip is removed too.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /venv /venv
# No wheel contains the services. They are imported from this folder, which is also the DEMO_HOME of
# the demo command.
WORKDIR /app
COPY services services
# No bytecode is written, because the file system of the container is read-only.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DEMO_HOME=/app
# A numeric user, so that Kubernetes can verify that it is not root.
USER 10001:10001
CMD ["python", "-m", "services.checkout"]
