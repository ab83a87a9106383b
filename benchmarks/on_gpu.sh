#!/usr/bin/env bash
# Everything that needs a GPU, the most important first, in about five minutes:
#
#     git clone https://github.com/NVlabs/stylegan3 /tmp/sg3
#     benchmarks/on_gpu.sh /tmp/sg3 | tee on_gpu.log
#
# Tests of Triton kernels and CUDA graphs against plain PyTorch; seconds per 1,000 images compared with stylegan3's code,
# whose extensions take a minute to build the first time; time per part of a training step.
set -u
cd "$(dirname "$0")/.."
export PYTHONPATH=. PYTHONUNBUFFERED=1
python=${PYTHON:-python3}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
timeout 90 "$python" -m pytest -o filterwarnings= -p no:cacheprovider tests/nets/ops \
    tests/train/test_execution.py tests/train/test_trainer.py tests/train/augment/test_geometry.py
for resolution in 512 256; do
    timeout 180 "$python" benchmarks/beside_ada.py "$1" --published --resolution $resolution --rounds 5
done
"$python" -m figment bench --resolution 512 --seconds 0.3
"$python" -m figment bench --resolution 256 --seconds 0.3
