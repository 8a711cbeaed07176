# syntax=docker/dockerfile:1
# The image of tocsin: Python and what the server needs, no compiler, no pip, no shell needed to run it.
# `docker build --tag tocsin .` builds it; EXTRAS chooses what comes along, see pyproject.toml.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRAS=postgres,metrics,notify,otel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# Not `python -m venv` with pip in it: what installs has no place in the result.
RUN python -m venv --without-pip /opt/tocsin
COPY pyproject.toml README.md LICENSE ./
COPY tocsin tocsin
RUN python -m pip --python /opt/tocsin/bin/python install --no-compile ".[${EXTRAS}]" \
 && python -m compileall -q -j 0 /opt/tocsin/lib

FROM python:${PYTHON}-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/tocsin --create-home --shell /usr/sbin/nologin tocsin \
 && mkdir /definitions \
 && python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel
COPY --from=build /opt/tocsin /opt/tocsin
ENV PATH=/opt/tocsin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOCSIN_HOME=/var/lib/tocsin \
    TOCSIN_HOST=0.0.0.0
USER 10001:10001
# Commands of flows start here, and relative paths in definitions.
WORKDIR /definitions
# The SQLite database, where there is one, and the output of runs.
VOLUME /var/lib/tocsin
EXPOSE 8710
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ.get('TOCSIN_PORT', '8710') + '/healthz', timeout=4)"]
ENTRYPOINT ["tocsin"]
CMD ["serve", "/definitions"]
