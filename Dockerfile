# One image, a command for each of ours: python -m services.checkout, python -m services.payment, python -m three_pillar_demo.web.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements/build.lock
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY services services
COPY settings settings
COPY delivery delivery
COPY guards guards
COPY telemetry telemetry
COPY embedded embedded
COPY backends backends
COPY demo demo
COPY console console
# The build tools stay in this stage: what leaves it is /venv, which has none, not even pip.
RUN python -m hatchling build -t wheel \
    && pip --python /venv/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM python:3.13-slim
# Its own pip goes too.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
CMD ["python", "-m", "services.checkout"]
