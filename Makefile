# `make demo` and `make test` each set up .venv by themselves; neither needs the other.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-libraries test-device lint format docs package release clean

demo: $(INSTALLED)
	$(BIN)/artoolkit quickstart --out demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=25

# Networks of others as the site shows them, where their library is too large for every run.
test-libraries: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group libraries
	$(BIN)/python -m pytest tests/e2e/test_own_network.py -k library

# As on a robot: no torch, and the NumPy 1 that JetPack's OpenCV and ROS 2 Humble need.
test-device:
	$(PYTHON) -m venv .venv-device
	.venv-device/bin/python -m pip install --quiet --upgrade pip
	.venv-device/bin/python -m pip install --quiet "numpy<2" scipy -e ".[cpu,device,sign]" --group test
	.venv-device/bin/python -m pytest -m "not slow and not gpu"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, warnings as errors, with the notebook that it shows run anew and every link checked.
docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group site
	$(BIN)/python -m nbconvert --log-level WARN --execute --to markdown docs/notebooks/*.ipynb
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Wheel and sdist as they are published, held to what PyPI and pip expect.
package: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group release
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# What a release needs beside `make test`, which has the workflows, MLflow, W&B and the hub.
release: docs package

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "artoolkit needs Python 3.10 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,cpu,openvino,rtx]" --group dev
	touch $@

clean:
	rm -rf $(VENV) demo site dist
