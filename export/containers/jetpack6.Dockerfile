# JetPack 6 (Orin): CUDA 12.6, TensorRT 10.3 and its bindings come with the base.
#   docker build -f export/containers/jetpack6.Dockerfile -t artoolkit-jetpack6 .
#   docker run --rm -it --runtime nvidia -v "$PWD":/work artoolkit-jetpack6 build bundle
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-libnvinfer python3-venv \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's bindings are a system package: the environment must see those.
RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/artoolkit
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE NOTICE ./
COPY artoolkit ./artoolkit
COPY export ./export
# JetPack 6's driver is of CUDA 12, where the pinned cuda-bindings of CUDA 13 answer error 35.
RUN sed -i '/^cuda-bindings/d' constraints.txt \
    && pip install --no-cache-dir --constraint constraints.txt . onnx nvidia-ml-py "cuda-bindings==12.9.1"

WORKDIR /work
ENTRYPOINT ["artoolkit"]
