# Every target makes its own .venv when it is missing; it needs Python >= 3.11, make, and uv or pip.
# PYTHON=python3.13 takes another interpreter, in a .venv-3.13 beside it.
PYTHON ?= python3
VENV := .venv$(if $(filter command environment,$(firstword $(origin PYTHON))),$(shell $(PYTHON) -c \
  'import sys; print("-%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin

# The programs of the oldest Postgres that is there: Debian's packages, or OLD=folder of `postgres` and `initdb`.
OLD ?= $(firstword $(wildcard $(foreach major,14 15 16 17,/usr/lib/postgresql/$(major)/bin)))

.PHONY: demo test test-old check chaos fuzz bench large waiting schedules onward timers retention interrupts completions clean format lock

$(VENV)/ready: pyproject.toml requirements.lock
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --python $(PYTHON) --allow-existing $(VENV) && \
	  uv pip install -q --python $(BIN)/python -r requirements.lock && uv pip install -q --python $(BIN)/python --no-deps -e .; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $@

demo: $(VENV)/ready  ## 500 orders through durable workflows, with a worker killed half way
	@$(BIN)/python -m examples.orders.demo

test: $(VENV)/ready  ## all tests, on servers of their own; four at a time, since most of them wait
	@# What is compiled is kept, whatever the shell says: else each interpreter compiles all of ours once more.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder

test-old: $(VENV)/ready  ## the daemon's tests on the oldest Postgres that Debian has (OLD=folder: on that of another)
	@test -x "$(OLD)/postgres" || \
	  { echo "no older Postgres is here: apt-get install postgresql-15, or OLD=folder with its programs" >&2; exit 1; }
	@$(OLD)/postgres --version
	@AIKI_PG_BIN=$(OLD) $(BIN)/python -m pytest -q tests/integration/daemon

check: $(VENV)/ready  ## format, lint, types and import rules
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/python -m pytest -q tests/unit/test_imports.py

chaos: $(VENV)/ready  ## the chaos tests for MINUTES (1), at leases of 1, 3 and 30 s, and what they amounted to
	@$(BIN)/python -m tests.chaos.soak $(MINUTES)

fuzz: $(VENV)/ready  ## COUNT (420,000) mutated requests and frames, from SEED (1), against a daemon, a worker and a client
	@FUZZ_COUNT=$(or $(COUNT),420000) FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q -s --timeout=0 tests/fuzz

bench: $(VENV)/ready  ## W1-W7 and start-up; LIMIT=path/to/limit.py runs the ceiling sketch beside them, BASE=checkout another tree (ONLY="W1 W2")
	@$(if $(BASE),$(MAKE) -C $(BASE) VENV=.venv .venv/ready)
	@$(BIN)/python -m bench.run $(if $(LIMIT),--limit $(LIMIT)) $(if $(BASE),--base $(BASE)) $(if $(ONLY),--only $(ONLY))

large: $(VENV)/ready  ## each reader, W1 and W2 with RUNS (5,000,000) finished runs, beside few; they are loaded once, into FOLDER (.bench)
	@$(BIN)/python -m bench.large --runs $(or $(RUNS),5000000) --folder $(or $(FOLDER),.bench)

waiting: $(VENV)/ready  ## aikid's memory and idle CPU while RUNS (100,000) runs wait for an event
	@$(BIN)/python -m bench.waiting --runs $(or $(RUNS),100000)

schedules: $(VENV)/ready  ## how soon DUE (10,000) schedules fire that are due at once, and what IDLE (100,000) others cost
	@$(BIN)/python -m bench.schedules --due $(or $(DUE),10000) --idle $(or $(IDLE),100000) --daemons $(or $(DAEMONS),1)

onward: $(VENV)/ready  ## one run that goes on as new GENERATIONS (10,000) times: time for each, memory, what is left
	@$(BIN)/python -m bench.onward --generations $(or $(GENERATIONS),10000)

timers: $(VENV)/ready  ## how soon sleeps end: SLEEPS (10,000) that are due within a second, and short ones in turn
	@$(BIN)/python -m bench.timers --sleeps $(or $(SLEEPS),10000)

watchers: $(VENV)/ready  ## W1 and W2 beside 20 who follow runs in full and one who follows the namespace, against nobody, in ROUNDS (7) pairs
	@$(BIN)/python -m bench.watchers --rounds $(or $(ROUNDS),7)

retention: $(VENV)/ready  ## RUNS (1,000,000) finished runs are deleted: how fast, what W1 pays for it, what room is left behind
	@$(BIN)/python -m bench.retention --runs $(or $(RUNS),1000000)

interrupts: $(VENV)/ready  ## Ctrl-C in 10 ms steps over the start of each long command
	@$(BIN)/python -m tests.acceptance.cli.interrupts

completions: $(VENV)/ready  ## what TAB knows of the commands, and the scripts of shells, made anew
	@$(BIN)/python -m aiki_cli.tab.writing
	@$(BIN)/ruff format -q cli/aiki_cli/tab/grammar.py
	@for shell in bash:aiki.bash zsh:_aiki fish:aiki.fish; do \
	  $(BIN)/python -m aiki_cli completion $${shell%%:*} > completions/$${shell#*:}; done

format: $(VENV)/ready
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

lock: $(VENV)/ready  ## pin what is installed now
	@$(BIN)/python -m pip freeze --exclude-editable --exclude aiki > requirements.lock

clean:
	rm -rf .venv .venv-* .aiki .demo .bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
