#!/bin/sh
# Install a lock and Tidegate itself into a virtual environment: requirements/install.sh FOLDER run|dev|e2e|voice|nightly
#
# With uv where it is found, else with pip; make … UV=no says pip. Only wheels, and only those whose hashes are in
# the lock; where they come from is for the settings of uv and pip to say. PYTHON chooses the interpreter.
set -eu

venv=$1
lock=$2
here=$(dirname "$0")
[ "${UV:-}" = no ] && uv= || uv=${UV:-$(command -v uv || true)}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    fail "Python 3.11 or newer is needed${PYTHON:+, and $PYTHON is not}. If you have it, say where: make … PYTHON=/path/to/python3"
}

make_environment() {
    if [ -n "$uv" ]; then
        "$uv" venv -q --python "$python" "$venv"
    else
        "$python" -m venv "$venv" || fail "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"
    fi
}

install() {
    if [ -n "$uv" ]; then
        "$uv" pip install -q --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"
    fi
}

if ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(find_python)
    make_environment
fi
count=$(grep -c '==' "$here/$lock.txt")
echo "Installing $count packages into $venv with ${uv:-pip}; only when requirements/$lock.txt changes."
install --no-deps --require-hashes --only-binary :all: -r "$here/$lock.txt" || fail "Nothing was installed. Without uv: make … UV=no"
case $lock in
e2e | voice) ;; # clients know nothing of us
*)
    install --require-hashes --only-binary :all: -r "$here/build.txt"
    install --no-deps --no-build-isolation -e "$here/.."
    ;;
esac
