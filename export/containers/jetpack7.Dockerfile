# JetPack 7 (Thor): CUDA 13.0, TensorRT 10.13 and its bindings come with the base, which is NVIDIA's for
# every aarch64 server, since JetPack 7 runs those.
#   docker build -f export/containers/jetpack7.Dockerfile -t artoolkit-jetpack7 .
#   docker run --rm -it --runtime nvidia -v "$PWD":/work artoolkit-jetpack7 build bundle
FROM nvcr.io/nvidia/tensorrt:25.09-py3

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /opt/artoolkit
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE NOTICE ./
COPY artoolkit ./artoolkit
COPY export ./export
RUN pip install --no-cache-dir --constraint constraints.txt . onnx nvidia-ml-py cuda-bindings

WORKDIR /work
ENTRYPOINT ["artoolkit"]
