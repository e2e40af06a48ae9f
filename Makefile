# The only set-up anyone needs: each target makes .venv and installs what it lacks.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test check bench bench-more bench-scale bench-gpu learn soak clean
help:  ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Apart from .venv: Daft wants an older pyarrow than this package. Only the peers' own processes see it.
.venv/peers/.installed: benchmarks/peers/requirements.txt .venv/.installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --no-warn-conflicts --upgrade --target .venv/peers -r $<
	@touch $@

run: .venv/.installed  ## Edit the sample catalogue with the embedded models, on a local Ray
	@$(BIN)/mira-batch run --config configs/quickstart.yaml

# Where PYTHONDONTWRITEBYTECODE is set, each of the tests' processes would compile the package again.
test: .venv/.installed-dev check  ## Lint, types, layers, then every test
	$(BIN)/python -m compileall -q mira_batch jobs tests/support
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not soak"

check: .venv/.installed-dev  ## Format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/.installed-dev .venv/peers/.installed  ## Measure speed and memory against peers and bare loops, in ten minutes; QUICK=1: in short
	QUICK=$(QUICK) $(BIN)/python -m benchmarks
	QUICK=$(QUICK) $(BIN)/python -m benchmarks batches

# Each by itself, so that one that can't run does not hold up the others.
bench-more: .venv/.installed-dev .venv/peers/.installed  ## Measure all else: judging, endpoints, served peers, a catalogue of a million
	@failed=; for topic in workers judging endpoints peers-served peers-torch peers-pillow proposals fidelity driver catalogue; do \
		QUICK=$(QUICK) $(BIN)/python -m benchmarks $$topic || failed="$$failed $$topic"; done; \
		test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

bench-scale: .venv/.installed-dev  ## Plan and fold a catalogue of ten million records: half an hour
	QUICK=$(QUICK) $(BIN)/python -m benchmarks scale

bench-gpu: .venv/.installed-dev  ## What the paper's models take on this machine's GPU, with random weights
	$(BIN)/python -m benchmarks.gpu

learn: .venv/.installed-dev  ## A policy learns in the synthetic world: table and report in out/learn; QUICK=1, SEEDS=n
	QUICK=$(QUICK) SEEDS=$(SEEDS) $(BIN)/python -m benchmarks learn

soak: .venv/.installed-dev  ## The tests' further kills and counts; then disturb runs for MINUTES (10), and watch a long one; SEED: as then
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m soak
	$(BIN)/python -m tests.soak $(or $(MINUTES),10) $(SEED)
	$(BIN)/python -m tests.steady $(or $(MINUTES),10)

clean:  ## Remove what was built and run
	rm -rf .venv out build *.egg-info
