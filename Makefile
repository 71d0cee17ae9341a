# Every target sets the project up first: once, and again if pyproject.toml or requirements.txt changed.
PYTHON ?= python3
UV_VERSION := 0.13.8
ARGS ?=
SWEEP ?= width
FAMILY ?= *
PORT ?= 5000
# A sweep of each family that meets the rules of convergence of the study's protocol, and pairs that
# all of them have.
STUDIED := study-mlp study-mlp-tanh study-randhie study-vgg11 study-vgg11-batch study-resnet20 \
	study-resnet20-layer study-resnet20-group study-vit study-mixer study-gpt study-sums
SHARED := correction=none spawn_step=none form=trained matching=none matching=weights \
	matching=activations matching=orthogonal
TESTERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Without bytecode, as in many containers, every process compiles PyTorch anew as it starts.
unexport PYTHONDONTWRITEBYTECODE
# A .venv that is incomplete, or was moved from another folder, is created anew.
BROKEN := $(shell test -e $(READY) && test -x $(BIN)/uv && $(BIN)/python -c 'import importlib.metadata as m, json, os, urllib.parse as u; \
	at = json.loads(m.distribution("llfc").read_text("direct_url.json"))["url"]; \
	assert os.path.samefile(u.unquote(u.urlsplit(at).path), ".")' 2>/dev/null || echo broken)

.DEFAULT_GOAL := help
.PHONY: help setup test exhaustive check smoke sweep-width sweep-spawn-epoch sweep-onset sweep-architecture \
	sweep-matching sweep-misalignment sweep-transformer sweep-checkpoints study ui report results \
	notebooks docs bench clean pins broken

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.txt $(BROKEN)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) must be Python 3.11 or later: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module: install it (Debian: python3-venv)" >&2; exit 2; }
	@rm -f $@
	@test -z "$(BROKEN)" || { $(PYTHON) -m venv --clear $(VENV) && \
		$(BIN)/python -m pip install --quiet uv==$(UV_VERSION); }
	@echo "setting up $(VENV) (6 GB with PyTorch)"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

broken:

setup: $(READY)  ## create .venv and install everything into it

# In parallel, one thread each: more threads than cores make small products several times slower.
# The workers of sweeps, which Ray would let wait for all other processes, have their share too.
PYTEST := RAY_worker_niceness=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TESTERS) --dist worksteal

test: $(READY)  ## run all but the exhaustive tests, in TESTERS (2) processes
	$(PYTEST) $(ARGS)

exhaustive: $(READY)  ## run the tests that `make test` leaves out
	$(PYTEST) -m exhaustive $(ARGS)

# The types are checked while the tests run, and said after them.
check: $(READY)  ## style, types and the quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@said=$$(mktemp); $(BIN)/mypy > $$said 2>&1 & types=$$!; \
	$(PYTEST) -m 'not slow' $(ARGS); tests=$$?; \
	wait $$types; types=$$?; cat $$said; rm $$said; exit $$((tests ? tests : types))

smoke: $(READY)  ## a whole sweep in under a minute: does everything work?
	$(BIN)/python sweeps/smoke.py $(ARGS)

sweep-width: $(READY)  ## does the barrier vanish with width, once units are matched?
	$(BIN)/python sweeps/width.py $(ARGS)

sweep-spawn-epoch: $(READY)  ## from which epoch on do two runs forked from one trunk stay connected?
	$(BIN)/python sweeps/spawn_epoch.py $(ARGS)

sweep-onset: $(READY)  ## from which step on do they stay connected? a search instead of a grid
	$(BIN)/python sweeps/onset.py $(ARGS)

sweep-architecture: $(READY)  ## do LMC and LLFC go together in every family of networks?
	$(BIN)/python sweeps/architecture.py $(ARGS)

sweep-matching: $(READY)  ## which matching, with which correction, flattens the line?
	$(BIN)/python sweeps/matching.py $(ARGS)

sweep-misalignment: $(READY)  ## do barrier and LLFC error follow, when only the alignment is undone?
	$(BIN)/python sweeps/misalignment.py $(ARGS)

sweep-transformer: $(READY)  ## which symmetry connects two transformers?
	$(BIN)/python sweeps/transformer.py $(ARGS)

sweep-checkpoints: $(READY)  ## how far are networks of your own from connected? ARGS="--checkpoints A B ..."
	$(BIN)/python sweeps/checkpoints.py $(ARGS)

# Hours; what is there already is not trained again.
study: $(READY)  ## run the study of docs/results/protocol.md, or one family: FAMILY=mlp
	@for family in docs/results/study/$(FAMILY).toml; do echo "== $$family"; \
		$(BIN)/python -m sweeps run --config $$family $(ARGS) || exit 1; done

ui: $(READY)  ## browse the runs in MLflow at http://127.0.0.1:5000 (PORT=...)
	@$(BIN)/python -m analysis.ui --port "$(PORT)" $(ARGS)

report: $(READY)  ## print a sweep's answer and write its page, from the runs (SWEEP=width, or all)
	$(BIN)/python -m analysis report --sweep $(SWEEP) $(ARGS)

results: $(READY)  ## draw the page of each study from its frames in docs/results, into runs/results
	@for frame in docs/results/*.trials.parquet; do sweep=$$(basename $$frame .trials.parquet); \
		$(BIN)/python -m analysis report --sweep $$sweep --tracking-uri docs/results \
			--out runs/results/$$sweep.html > /dev/null || exit 1; done
	@$(BIN)/python -m analysis report --sweep width spawn_epoch architecture \
		--tracking-uri docs/results --out runs/results/all.html
	@$(BIN)/python -m analysis report --sweep $(STUDIED) \
		--tracking-uri docs/results --out runs/results/study.html
	@$(BIN)/python -m analysis table families --sweep $(STUDIED) --tracking-uri docs/results
	@$(BIN)/python -m analysis table families --sweep $(STUDIED) --where correction=none \
		--tracking-uri docs/results
	@$(BIN)/python -m analysis table families --sweep $(STUDIED) --where $(SHARED) \
		--tracking-uri docs/results

notebooks: $(READY)  ## execute the notebooks on the runs, into runs/notebooks
	$(BIN)/python -m analysis notebooks --out runs/notebooks $(ARGS)

# Strictly, and without a network; a warning of the theme's end is no warning of the site's.
docs: $(READY)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html, or with its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

bench: $(READY)  ## measure speed, as ratios to plain reference implementations
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## delete .venv and every cache; runs/ stays
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

pins: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--extra sweeps --extra dev --extra docs --upgrade pyproject.toml -o requirements.txt
