# make demo: install into .venv and transcribe samples/ with Whisper tiny.en
# make test: install into .venv and run every check
# make test-xrt: run the device tests over the genuine pyxrt, without an NPU; needs root and Debian's apt
# make test-torch: run the drop-ins inside transformers and openai-whisper; needs a CPU build of PyTorch from pip
# make test-browser: test the server's page in a headless Chromium; needs Debian's chromium, or root and apt
# make test-cluster: run the archive on a Ray cluster of this machine; needs unshare and Ray from pip
# make test-lowest: run fast tests with the lowest versions of the packages that pyproject.toml allows
# make audit: look for known weaknesses in the packages that are installed; needs the internet
# make fuzz: install into .venv and try hostile input for a quarter of an hour; FUZZ_SEEDS=100 for longer
# make mutants: change the program in one place at a time, and see whether a test notices; takes an hour or more
# make benchmark: install into .venv, measure, and write the folder benchmark-report/
# Another Python than python3: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
REPORT := benchmark-report
# What touches each package, without real weights; about a minute.
FAST_TESTS := tests/unit/test_cache.py tests/unit/test_staging.py tests/unit/test_output_files.py \
	tests/unit/apps/test_outputs.py tests/unit/checkpoint/test_decoder.py tests/unit/checkpoint/test_hostile.py \
	tests/unit/transcription/test_loop.py tests/unit/transcription/test_model.py
FUZZ_SEEDS ?= 20
# A process more than there are cores, since some tests wait; the tests of a file stay together, as they share what
# was costly to make. Files come in their order: pytest-xdist's own puts those with few tests last, and among them are
# the longest.
SPREAD := -n $(shell expr $$(nproc) + 1) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
MUTANTS := --jobs 1
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet

# Hundreds of processes import the same files, which are to be compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-xrt test-torch test-browser test-cluster fuzz mutants test-lowest audit benchmark clean

demo: $(VENV)/installed-demo
	$(VENV)/bin/whisper-npu transcribe --model tiny.en samples/*.wav

# While mypy has one core, the other compiles the tests for the processes that run them.
test: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pytest --collect-only --quiet > /dev/null & $(VENV)/bin/mypy; checked=$$?; wait; exit $$checked
	$(VENV)/bin/pytest $(SPREAD)

test-xrt: $(VENV)/created
	PYTHON=$(VENV)/bin/python tests/xrt/run.sh

test-torch: $(VENV)/installed-test
	PYTHON=$(VENV)/bin/python tests/compat/run.sh

test-browser: $(VENV)/installed-test
	PYTHON=$(VENV)/bin/python tests/browser/run.sh

test-cluster: $(VENV)/installed-test
	PYTHON=$(VENV)/bin/python tests/cluster/run.sh

# Its own environment: the lowest versions are not those of the other targets.
test-lowest: $(VENV)/installed-test
	$(PYTHON) -m venv --clear $(VENV)/lowest
	$(VENV)/bin/python scripts/lowest.py > $(VENV)/lowest/constraints.txt
	$(VENV)/lowest/bin/python -m pip install --disable-pip-version-check --quiet \
		--constraint $(VENV)/lowest/constraints.txt --editable . pytest hypothesis
	$(VENV)/lowest/bin/python -m pytest -q $(FAST_TESTS)

audit: $(VENV)/installed-demo
	$(PYTHON) -m venv --clear $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit
	$(VENV)/bin/python -m pip freeze --exclude-editable > $(VENV)/audit/installed.txt
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)/audit/installed.txt

fuzz: $(VENV)/installed-test
	FUZZ_SEEDS=$(FUZZ_SEEDS) $(VENV)/bin/pytest -m fuzz --hypothesis-profile=fuzz

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
