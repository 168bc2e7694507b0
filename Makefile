# make app    set up once, then open the studio
# make test   set up once, then run the tests
# make setup  .venv with the package in it, nothing more
#
# On Linux, PyPI's torch carries CUDA. For the small CPU build give its wheel index (see README):
#   make app TORCH_INDEX=<the CPU index from PyTorch's "Get started" page>

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: app test setup clean

app: setup
	$(BIN)/streamlit run app.py

test: setup $(VENV)/.test-ready
	$(BIN)/python -m pytest

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Deep Musician needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -z "$(TORCH_INDEX)" || $(BIN)/pip install --quiet --index-url $(TORCH_INDEX) "$$(grep '^torch' requirements.txt)"
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.test-ready: $(VENV)/.ready
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
