# The README gives the `python -m ...` lines behind each target, for machines without make.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lab report lint clean
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# package=the scores that need it; some compile C, and one that fails must not stop the rest
SCORES := setuptools<81=- resemblyzer=speaker_similarity pocketsphinx=recognised_words \
	jiwer=word_error_rate pystoi=STOI pesq=PESQ

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

setup: .venv/.stamp  ## make .venv and install everything into it

.venv/.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 13) or sys.exit("Python 3.11 or 3.12 is needed, \
	$(PYTHON) is " + sys.version.split()[0] + "; say which to take: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --only-binary :all: -e '.[dev,scale]'
	@missing=; for pair in $(foreach pair,$(SCORES),'$(pair)'); do package=$${pair%=*}; score=$${pair##*=}; \
		echo "$(PIP) install --quiet '$$package'"; \
		$(PIP) install --quiet "$$package" >>.venv/metrics.log 2>&1 || missing="$$missing $$score ($$package)"; \
	done; \
	if [ -n "$$missing" ]; then echo "These scores will be missing, their packages did not install here:$$missing"; fi
	$(PIP) install --quiet --force-reinstall --no-deps -e .  # last, so that its papermill command wins
	@touch $@

demo: setup  ## run notebooks 00, 01, 02 and 10 on demo voices and write wav files to runs/demo
	$(BIN)/python -m rovolad_lib.lab.demo

test: setup  ## run all tests
	$(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder

lab: setup  ## open the notebooks
	$(BIN)/jupyter lab notebooks

report: setup  ## write results/README.md from the records
	$(BIN)/python -m rovolad_lib.lab.report

lint: setup  ## check the code's form
	$(BIN)/ruff check .

clean:  ## remove caches and the demo; data, runs and results stay
	rm -rf runs/demo build *.egg-info .pytest_cache .ruff_cache .hypothesis out.ipynb notebooks/*.out.ipynb
	find rovolad_lib data_prep tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
