# LogCaster Guard as an image: docker build -t logcaster-guard .
# Nothing runs as root, nothing needs a shell, and only /var/lib/logcaster-guard is written: the root may be read-only.
ARG PYTHON=docker.io/library/python:3.11-slim

FROM ${PYTHON} AS build
WORKDIR /src
RUN ["python", "-m", "venv", "/opt/logcaster-guard"]
COPY requirements.lock requirements-build.lock ./
RUN ["/opt/logcaster-guard/bin/python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--no-compile", "--require-hashes", "-r", "requirements.lock"]
RUN ["python", "-m", "venv", "/opt/build"]
RUN ["/opt/build/bin/python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--require-hashes", "-r", "requirements-build.lock"]
COPY pyproject.toml README.md ./
COPY logcaster_guard ./logcaster_guard
RUN ["/opt/build/bin/python", "-m", "pip", "wheel", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--wheel-dir", "/opt/wheel", "."]
RUN ["/opt/logcaster-guard/bin/python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--no-index", "--find-links", "/opt/wheel", "logcaster-guard"]
RUN ["/opt/logcaster-guard/bin/python", "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", "/opt/logcaster-guard/lib"]

FROM ${PYTHON}
LABEL org.opencontainers.image.title="LogCaster Guard" \
      org.opencontainers.image.description="Finds a bad release on Kubernetes and rolls it back to the last good one."
COPY --from=build /opt/logcaster-guard /opt/logcaster-guard
RUN ["install", "-d", "-o", "10001", "-g", "10001", "-m", "0700", "/var/lib/logcaster-guard"]
# What a library would put into /tmp or a home folder goes to the one folder that can be written.
ENV PATH=/opt/logcaster-guard/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/logcaster-guard \
    TMPDIR=/var/lib/logcaster-guard \
    SQLITE_TMPDIR=/var/lib/logcaster-guard \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/logcaster-guard
USER 10001:10001
EXPOSE 9997 9996
STOPSIGNAL SIGTERM
ENTRYPOINT ["logcaster-guard"]
CMD ["run", "/etc/logcaster-guard"]
