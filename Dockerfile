# Two stages: the toolchain builds, and only the binary goes into an image without a shell.
# There is no HEALTHCHECK: the image has nothing to run one with. Probe /readyz over HTTP (port 8080)
# or the gRPC health service (port 50051) from outside.
#
#   docker build -t lazarus .
#   docker run -p 50051:50051 -p 8080:8080 -v lazarus:/data lazarus
#   docker run -p 50051:50051 -e AWS_REGION -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY lazarus \
#       serve --store s3://bucket/prefix --grpc 0.0.0.0:50051 --http 0.0.0.0:8080

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
RUN cargo build --release --locked --bin lazarus && mkdir /data

# glibc, libgcc and the certificates that object stores are reached with; a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/lazarus /usr/local/bin/lazarus
COPY --from=build --chown=nonroot:nonroot /data /data
USER nonroot:nonroot
VOLUME ["/data"]
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/lazarus"]
CMD ["serve", "--store", "embedded:/data/store", "--grpc", "0.0.0.0:50051", "--http", "0.0.0.0:8080"]
