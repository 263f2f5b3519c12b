# The whole study in a container; the results appear in the folder that is mounted at /study:
#
#   docker build -t fathom-onnx .
#   docker run --rm -v "$PWD/study:/study" fathom-onnx
#
# Any other command of the tool: docker run --rm fathom-onnx .venv/bin/fathom-onnx list
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /fathom-onnx
COPY . .
RUN make setup

VOLUME /study
CMD ["make", "study", "STUDY=/study"]
