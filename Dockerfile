# mqtt-proxy as an image: dependencies are built in a layer of their own, so that a change of the sources rebuilds little.
# Other base images (a mirror, another release) are build arguments: docker build --build-arg DEBIAN_IMAGE=...
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS chef
WORKDIR /build
# The system's OpenSSL: its updates come with the base image.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN cargo install cargo-chef --version 0.1.78 --locked && rm -rf "${CARGO_HOME:-/usr/local/cargo}/registry"

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json --bin mqtt-proxy

FROM chef AS builder
COPY --from=planner /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --no-default-features --bin mqtt-proxy --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --no-default-features --bin mqtt-proxy && strip target/release/mqtt-proxy

FROM ${DEBIAN_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mqtt-proxy" \
    org.opencontainers.image.description="One MQTT endpoint for devices, in front of every broker behind it" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT"
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 1000 mqtt-proxy \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /app --shell /usr/sbin/nologin mqtt-proxy \
    && install -d -o 1000 -g 1000 -m 0750 /app/data
WORKDIR /app
COPY static static
COPY settings settings
COPY --from=builder /build/target/release/mqtt-proxy /usr/local/bin/mqtt-proxy
USER 1000:1000
VOLUME /app/data
# MQTT, MQTT over TLS, dashboard with REST API and metrics.
EXPOSE 1883 8883 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["mqtt-proxy", "health"]
ENTRYPOINT ["mqtt-proxy"]
CMD ["serve"]
