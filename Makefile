# Everything is two commands: `make book` and `make test`. The rest is for those who write.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SITE := _build/html

.PHONY: help book check test execute table lab serve lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

# The environment is rebuilt when the lock or the metadata changes, and only then. It is compiled
# at once: every notebook and many a test is a new process, which might have to do it by itself.
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 14); sys.exit(None if ok else \
	"This is Python %d.%d; the book needs 3.11, 3.12 or 3.13. Try: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# Rebuilt from nothing each time: Sphinx repeats a page's warning only while it reads that page,
# so a second build over the first one's cache would pass where the first failed.
book: .venv/.ready ## build the website and say where it is
	@rm -rf _build
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@echo "The book is built. Open $(CURDIR)/$(SITE)/index.html"

check: .venv/.ready ## run what is quick, in less than a minute: package and lints
	$(BIN)/pytest -q -n auto --dist worksteal -m "not slow" tests

# One process more than cores: kernels, browsers and killed sweeps make their tests wait.
# A notebook needs one kernel, so files stay whole; conftest.py puts the long ones first.
test: book ## run all tests: package, notebooks, lints, website
	$(BIN)/pytest -n $$(( $$($(BIN)/python -c 'import os; print(os.cpu_count())') + 1 )) \
	  --dist loadfile --no-loadscope-reorder

execute: .venv/.ready ## run the notebooks again and store their outputs (ONLY=book/topk.ipynb for one)
	$(BIN)/python tools/execute.py $(ONLY)

table: .venv/.ready ## fill the tables of a lab or a chapter (LAB=transfer; TABLE=choice for one of them)
	$(BIN)/python -m ksae_lab table $(LAB) $(TABLE)

lab: .venv/.ready ## open JupyterLab on the book's notebooks
	$(BIN)/jupyter lab

serve: book ## serve the website on localhost
	$(BIN)/python -m http.server --bind localhost --directory $(SITE) 8000

lock: ## resolve pyproject.toml into requirements.txt again (LOCK=--upgrade for the newest of everything)
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --no-header --all-extras $(LOCK) pyproject.toml -o requirements.txt

clean: ## remove the environment and everything built
	rm -rf .venv _build
