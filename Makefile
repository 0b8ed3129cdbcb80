# make demo: install into .venv and transcribe samples/ with Whisper tiny.en
# make test: install into .venv and run every check
# make test-xrt: run the device tests over the genuine pyxrt, without an NPU; needs root and Debian's apt
# make test-torch: run the drop-ins inside transformers and openai-whisper; needs a CPU build of PyTorch from pip
# make test-browser: test the server's page in a headless Chromium; needs Debian's chromium, or root and apt
# make mutants: change the program in one place at a time, and see whether a test notices; takes an hour or more
# make benchmark: install into .venv, measure, and write the folder benchmark-report/
# Another Python than python3: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
REPORT := benchmark-report
MUTANTS := --jobs 1
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test test-xrt test-torch test-browser mutants benchmark clean

demo: $(VENV)/installed-demo
	$(VENV)/bin/whisper-npu transcribe --model tiny.en samples/*.wav

test: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

test-xrt: $(VENV)/created
	PYTHON=$(VENV)/bin/python tests/xrt/run.sh

test-torch: $(VENV)/installed-test
	PYTHON=$(VENV)/bin/python tests/compat/run.sh

test-browser: $(VENV)/created
	PYTHON=$(VENV)/bin/python tests/browser/run.sh

mutants: $(VENV)/installed-test
	$(VENV)/bin/python scripts/mutants.py $(MUTANTS)

benchmark: $(VENV)/installed-benchmark
	$(VENV)/bin/whisper-npu benchmark projection --markdown $(REPORT)/projection.md --json $(REPORT)/projection.json \
		--csv $(REPORT)/projection.csv --plot $(REPORT)/projection.png
	$(VENV)/bin/whisper-npu benchmark pipeline samples/*.wav --model tiny.en --markdown $(REPORT)/pipeline.md \
		--json $(REPORT)/pipeline.json --plot $(REPORT)/pipeline.png --trace $(REPORT)/trace.json
	@echo "The report is in $(REPORT)/; open trace.json in ui.perfetto.dev"

clean:
	rm -rf $(VENV)

# Files that are made last: what was interrupted is done again.
$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("whisper-npu needs Python 3.10 to 3.14; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/installed-demo: $(VENV)/created pyproject.toml
	@echo "Installing into $(VENV): about 0.6 GB, a few minutes the first time"
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/installed-test: $(VENV)/created pyproject.toml
	@echo "Installing into $(VENV): about 1.3 GB, a few minutes the first time"
	$(PIP) --editable '.[demo,base,test]'
	touch $@

$(VENV)/installed-benchmark: $(VENV)/created pyproject.toml
	@echo "Installing into $(VENV): about 0.8 GB, a few minutes the first time"
	$(PIP) --editable '.[demo,benchmark]'
	touch $@
