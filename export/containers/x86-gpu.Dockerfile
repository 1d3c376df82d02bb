# Training, export and engines on an x86-64 machine with an NVIDIA GPU and a driver of 580 or newer: CUDA
# 13.0, TensorRT 10.13 and its bindings come with the base.
#   docker build -f export/containers/x86-gpu.Dockerfile -t artoolkit-gpu .
#   docker run --rm -it --gpus all --shm-size 4g -v "$PWD":/work artoolkit-gpu --help
FROM nvcr.io/nvidia/tensorrt:25.09-py3

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/artoolkit
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE NOTICE ./
COPY artoolkit ./artoolkit
COPY export ./export
RUN pip install --no-cache-dir --constraint constraints.txt ".[train,gpu]" nvidia-ml-py

WORKDIR /work
ENTRYPOINT ["artoolkit"]
