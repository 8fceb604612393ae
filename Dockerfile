# One static binary, and images of almost nothing but it. It needs BuildKit, which Docker 23 and later use.
#
#   docker build -t lazarus .                                     the image of an engine
#   docker build --platform linux/arm64 --target bootstrap --output target/lambda/lazarus .
#                                                                 what infra/aws/template.yaml packs up
#
#   docker run -p 50051:50051 -p 8080:8080 -v lazarus:/data lazarus
#   docker run -p 50051:50051 -e AWS_REGION -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY lazarus \
#       serve --store s3://bucket/prefix --grpc 0.0.0.0:50051 --http 0.0.0.0:8080
#
# There is no HEALTHCHECK: the image has nothing to run one with. Probe /readyz over HTTP (port 8080)
# or the gRPC health service (port 50051) from outside.

# Alpine's Rust builds for musl, which links everything in: TLS is rustls with ring, the system's
# certificates are read at run time, and no crate looks for a library. So it runs on any Linux, also on
# that of a Lambda function.
FROM rust:1.95-alpine AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
# What Cargo fetched and built stays beside the layers, so that a change of a file builds one crate.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin lazarus \
    && cp target/release/lazarus /lazarus \
    && mkdir /data

# For AWS Lambda: the binary under the name by which Lambda starts it, and nothing else.
FROM scratch AS bootstrap
COPY --from=build /lazarus /bootstrap

# Certificates of the web's CAs, time zones, a user without rights, and no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /lazarus /usr/local/bin/lazarus
COPY --from=build --chown=65532:65532 /data /data
# In numbers, so that Kubernetes sees that it is not root.
USER 65532:65532
VOLUME ["/data"]
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/lazarus"]
CMD ["serve", "--store", "embedded:/data/store", "--grpc", "0.0.0.0:50051", "--http", "0.0.0.0:8080"]
