# A GPU node: the driver is the host's, CUDA's libraries come with torch.
#
#     docker build -t ood-study .
#     docker run --gpus all --shm-size 8g -v "$PWD/runs:/study/runs" ood-study run --space energy
#
# Ray keeps what trials share in /dev/shm, hence --shm-size. Own pictures and caches are mounted
# the same way: -v "$PWD/data:/study/data", -v "$HOME/.cache/ood-study:/cache".
FROM python:3.12-slim

RUN useradd --create-home student && mkdir -p /study/runs /cache && chown -R student /study /cache
COPY pyproject.toml README.md LICENSE /source/
COPY study /source/study
COPY analysis /source/analysis
COPY ood_study /source/ood_study
COPY search_spaces /source/search_spaces
RUN pip install --no-cache-dir "/source[all]" && rm -rf /source

USER student
WORKDIR /study
ENV OOD_STUDY_CACHE=/cache
ENTRYPOINT ["ood-study"]
CMD ["--help"]
