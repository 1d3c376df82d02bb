# Training, export and the comparison of programs, without a GPU.
#   docker build -f export/containers/workstation.Dockerfile -t artoolkit .
#   docker run --rm -it -v "$PWD":/work artoolkit --help
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/artoolkit
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE NOTICE ./
COPY artoolkit ./artoolkit
COPY export ./export
RUN pip install --no-cache-dir --constraint constraints.txt ".[train,cpu,rtx]"

RUN useradd --create-home artoolkit
USER artoolkit
WORKDIR /work
ENTRYPOINT ["artoolkit"]
