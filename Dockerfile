# Two images: `executor`, the default, is the daemon, bubblewrap and the languages; `mock` is a control plane to develop against.
#
#   docker build -t sandbox-executor .
#   docker build -t sandbox-executor --build-arg LANGUAGES=python3 .
#
# How to run it: docs/deployment.md. Nothing here needs BuildKit.

ARG RUST_IMAGE=rust:1-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

# ---- the sources without what is in them: changes only when dependencies do, or a file that cargo knows by name.
FROM ${RUST_IMAGE} AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name 'Cargo.*' ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -path '*/tests/*.rs' ! -path '*/harness/lib.rs' -delete \
    && find . -type d -empty -delete \
    && find . -name '*.rs' | while read -r file; do echo 'fn main() {}' >"$file"; done

# ---- the binaries.
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY --from=manifests /src .
# The dependencies, compiled apart, so that a changed line of ours compiles only ours.
RUN cargo build --release --locked -p executor -p control-plane-mock
COPY . .
# cargo judges by the time of change, and these are older than the stand-ins that were just compiled.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p executor -p control-plane-mock

# ---- everything but the daemon.
FROM ${BASE_IMAGE} AS runtime
# Debian packages. The shell is there anyway; a language that is left out is refused by name.
ARG LANGUAGES="python3 nodejs"
# The certificates are for a control plane behind https.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends bubblewrap ca-certificates ${LANGUAGES} \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 1000 executor \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin executor \
    && install -d -o 1000 -g 1000 /workspace /var/lib/sandbox-executor \
    && install -d -o 1000 -g 1000 -m 0700 /var/lib/sandbox-executor/sessions /var/lib/sandbox-executor/results
# Beside the sessions, so that one writable mount serves both.
ENV RESULTS_DIR=/var/lib/sandbox-executor/results
WORKDIR /
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/sandbox-executor", "health"]
# No shell and no init in front: process 1 of the container is the daemon, which reaps what an init would.
ENTRYPOINT ["/usr/local/bin/sandbox-executor"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sandbox-executor" \
      org.opencontainers.image.description="Runs untrusted Python, JavaScript and shell, each execution in a sandbox of its own" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# ---- a control plane to develop against.
FROM ${BASE_IMAGE} AS mock
COPY --from=build /src/target/release/control-plane-mock /usr/local/bin/control-plane-mock
USER 1000:1000
EXPOSE 8090
ENTRYPOINT ["/usr/local/bin/control-plane-mock", "--listen", "0.0.0.0:8090"]
LABEL org.opencontainers.image.title="control-plane-mock" \
      org.opencontainers.image.description="A control plane to develop sandbox-executor against" \
      org.opencontainers.image.licenses="Apache-2.0"

# ---- the daemon.
FROM runtime AS executor
COPY LICENSE /usr/share/doc/sandbox-executor/copyright
COPY --from=build /src/target/release/sandbox-executor /usr/local/bin/sandbox-executor
