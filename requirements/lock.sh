#!/bin/sh
# Write requirements/*.txt from pyproject.toml: every package with the hashes of its files, for every platform, and no
# word of where they come from. Needs uv, and gets it into .cache where it is not found.
set -eu
cd "$(dirname "$0")/.."

uv=${UV:-$(command -v uv || true)}
if [ -z "$uv" ]; then
    [ -x .cache/uv/bin/uv ] || { ${PYTHON:-python3} -m venv .cache/uv && .cache/uv/bin/python -m pip install -q uv; }
    uv=.cache/uv/bin/uv
fi

lock() { # lock NAME WHAT…
    name=$1
    shift
    echo "requirements/$name.txt"
    "$uv" pip compile -q --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-header --no-annotate --upgrade "$@" -o "requirements/$name.txt"
}

lock dev --extra otlp --extra controller --group dev pyproject.toml
lock run --constraint requirements/dev.txt pyproject.toml # the same versions as in dev.txt
lock controller --extra controller --constraint requirements/dev.txt pyproject.toml # for its image
lock dataplane --extra otlp --constraint requirements/dev.txt pyproject.toml # for its image
lock build --group build
lock e2e --group e2e # an environment of its own: openai-agents wants an older websockets
lock voice --group voice --no-emit-package docopt # it has no wheel, and only a command that nobody types needs it
lock nightly requirements/nightly.in # what only `make nightly` needs, beside dev.txt
