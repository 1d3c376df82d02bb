# Building, verifying and running engines on a Jetson: JetPack 6 brings TensorRT and its bindings.
#   docker build -f export/containers/jetson.Dockerfile -t artoolkit-jetson .
#   docker run --rm -it --runtime nvidia -v "$PWD":/work artoolkit-jetson build bundle
FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-libnvinfer python3-venv \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's bindings are a system package: the environment must see those.
RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/artoolkit
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY artoolkit ./artoolkit
COPY export ./export
RUN pip install --no-cache-dir --constraint constraints.txt . "cuda-bindings>=12.6,<13"

WORKDIR /work
ENTRYPOINT ["artoolkit"]
