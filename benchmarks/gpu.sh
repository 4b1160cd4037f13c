#!/usr/bin/env bash
# Every measurement and check that needs a GPU, within eight minutes; no network is used.
#
#     benchmarks/gpu.sh                 on a machine with a GPU
#     benchmarks/gpu.sh --rehearse      the same on a CPU, tiny: does it run
#
# Needs a Python with torch and NumPy. pydantic and safetensors, where that Python lacks them, are
# taken from build/gpu-packages, which a machine with a network fills beforehand:
#
#     pip install --target build/gpu-packages --python-version 3.12 --only-binary=:all: \
#         pydantic safetensors
#
# What lacks its package is left out, and the table says so.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD:$PWD/build/gpu-packages${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" benchmarks/gpu.py "$@"
