# xstilts on the CPU, or on a GPU where the container is given one:
#   docker build -t xstilts . && docker run --rm -v "$PWD:/work" xstilts demo
FROM python:3.13-slim
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt /xstilts/
COPY src /xstilts/src
RUN pip install --no-cache-dir -c /xstilts/constraints.txt "/xstilts[train,bundled]" && rm -rf /xstilts
WORKDIR /work
ENTRYPOINT ["xstilts"]
CMD ["--help"]
