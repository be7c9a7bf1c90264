# The program alone, without a shell, as a user without rights.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/llmsoak /usr/local/bin/llmsoak
# With it the container asks itself whether it is well.
COPY --from=busybox:1.37.0-musl /bin/wget /usr/local/bin/wget
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
EXPOSE 11499
ENTRYPOINT ["llmsoak"]
# All addresses of the container: who may reach them is for those who publish the port to say.
CMD ["run", "--web.listen-address=:11499", "--storage.path=/data"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:11499/-/healthy"]
