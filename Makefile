# make app    set up once, then open the studio
# make test   set up once, then run the tests
# make setup  .venv with the package in it, nothing more
# make clean  remove .venv
#
# On Linux, PyPI's torch carries CUDA. For the small CPU build give its wheel index (see README):
#   make app TORCH_INDEX=<the CPU index from PyTorch's "Get started" page>

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
TORCH_INDEX ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: app test setup clean

app: setup
	@echo "Deep Musician opens in your browser, at http://127.0.0.1:8501 where that port is free; Ctrl-C ends it"
	$(BIN)/streamlit run app.py

test: setup $(VENV)/.test-ready
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Deep Musician needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Python cannot make a virtual environment; on Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up Deep Musician in $(VENV): a few minutes the first time, never again"
	@test -z "$(TORCH_INDEX)" || $(PIP) install --quiet --index-url $(TORCH_INDEX) "$$(grep '^torch' requirements.txt)"
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.test-ready: $(VENV)/.ready
	$(PIP) install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
