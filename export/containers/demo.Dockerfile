# The demo on a CPU: generated streets, training, verdict, predictions.
#   docker build -f export/containers/demo.Dockerfile -t artoolkit-demo .
#   docker run --rm -v "$PWD/demo":/demo artoolkit-demo
FROM python:3.12-slim-bookworm

WORKDIR /opt/artoolkit
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE NOTICE ./
COPY artoolkit ./artoolkit
COPY export ./export
RUN pip install --no-cache-dir --constraint constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu ".[train,cpu]"

RUN useradd --create-home artoolkit && mkdir /demo && chown artoolkit /demo
USER artoolkit
CMD ["quickstart", "--out", "/demo"]
ENTRYPOINT ["artoolkit"]
