# Two commands: `make demo` and `make test`. Nothing here needs more than Python 3.11, pip and the package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?=
PERSON ?= Sub02

.PHONY: demo test lint bench arm64 faults ble soak clean

demo: $(VENV)/.installed
	$(BIN)/talaria-train demo $(if $(DATA),--data "$(DATA)" --person "$(PERSON)")

test: $(VENV)/.installed
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# OPENSIM=PYTHON names a Python that has pyopensim, to be measured beside it.
bench: $(VENV)/.installed
	$(BIN)/python tests/bench.py $(if $(DATA),--data "$(DATA)") $(if $(OPENSIM),--opensim "$(OPENSIM)")

# The base install's aarch64 wheels, and a minute replayed with them under emulation: needs qemu-user-static.
arm64: $(VENV)/.installed
	$(BIN)/python tests/arm64.py

# What faults cost: a real person's walk where there is one, else a simulated walker. Rewrites docs/reliability.md.
faults: $(VENV)/.installed
	$(BIN)/python tests/fault_lab.py $(if $(DATA),--data "$(DATA)" --person "$(PERSON)")

# Four sensors over Bluetooth LE for ten minutes, without a radio: needs dbus-daemon and bluetoothctl.
ble: $(VENV)/.installed
	$(BIN)/python tests/ble_run.py

soak: $(VENV)/.installed
	$(BIN)/python tests/fault_lab.py --soak

# constraints.txt pins the tested set; its torch is the one that comes as a CPU build where one is on offer.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	touch $@

clean:
	rm -rf $(VENV) build dist
