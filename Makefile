# Everything starts from Python 3.11+ and make: targets build the virtual environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= workdir/quickstart
STORE ?= workdir/tokens
DATA ?= $(wildcard $(abspath ../shared/data))
export SCALING_REFERENCE_DATA ?= $(DATA)
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help install quickstart dcpt vocabulary sparse test test-slow lint bench published golden constraints clean
help:
	@echo 'make quickstart   install, build tokens from text on this machine, train, fit, report'
	@echo 'make dcpt         continual pre-training at a grid of mixtures, the law, the best ratio'
	@echo 'make vocabulary   vocabularies by sizes by budgets, and the best vocabulary'
	@echo 'make sparse       dense runs and runs pruned while they train: which number of parameters counts'
	@echo 'make test         the tests, under 12 minutes; make test-slow: the long ones too'
	@echo 'make lint         ruff and mypy'
	@echo 'make bench        the benchmarks; make published: published numbers beside ours'

# The stamp is touched last, so an interrupted install is done again.
install: $(VENV)/installed
$(VENV)/installed: setup.cfg constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[data,dev]' \
	  || $(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[data,dev]'
	touch $@

quickstart: install
	$(BIN)/python -m scaling.data.prepare --corpus=python_docs --vocab_size=512 --store=$(STORE)
	$(BIN)/python -m scaling.sweep --config=configs/quickstart.py --workdir=$(WORKDIR) --store=$(STORE)
	$(BIN)/python -m analysis.fit --law=chinchilla --logs=$(WORKDIR) --study=quickstart --out=$(WORKDIR)/fit.json
	$(BIN)/python -m analysis.report --logs=$(WORKDIR) --study=quickstart --fit=$(WORKDIR)/fit.json --out=$(WORKDIR)/report.html
	@$(BIN)/python -c 'import os, sys, webbrowser; p = os.path.abspath(sys.argv[1]); shown = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))) or sys.platform == "darwin"; (shown and webbrowser.open("file://" + p)) or print("look at", p)' $(WORKDIR)/report.html

DCPT := $(dir $(WORKDIR))dcpt
dcpt: install
	$(BIN)/python -m scaling.data.prepare --corpus=python_docs,python_code,cpp_code --vocab_size=512 --store=$(STORE)
	$(BIN)/python -m scaling.sweep --config=configs/dcpt.py --workdir=$(DCPT) --store=$(STORE)
	for side in domain=python_code general=python_docs; do \
	  $(BIN)/python -m analysis.fit --law=dcpt_monotone --logs=$(DCPT) --study=dcpt --domain=$${side#*=} --where='`r/cpp_code` == 0' \
	    --group=trunk --validate=r,N,D,largest --out=$(DCPT)/$${side%=*}.json || exit; done
	$(BIN)/python -m analysis.mixture --fit=$(DCPT)/domain.json --general=$(DCPT)/general.json \
	  --N=66848 --D=1638400 --max_general_rise=0.03 --plot=$(DCPT)/ratio.png
	@echo look at $(abspath $(DCPT)/ratio.png)

# Two workers share the study: the budgets of a shape follow one another on a trunk.
VOCABULARY := $(dir $(WORKDIR))vocabulary
VOCABULARIES := 192,256,384,512,768,1024,2048
SWEEP_VOCABULARY = $(BIN)/python -m scaling.sweep --config=configs/vocabulary.py --workdir=$(VOCABULARY) --store=$(STORE) --cpu_devices=1
vocabulary: install
	$(BIN)/python -m scaling.data.prepare --corpus=python_docs_ascii --vocab_size=$(VOCABULARIES) --store=$(STORE)
	mkdir -p $(VOCABULARY)
	$(SWEEP_VOCABULARY) > $(VOCABULARY)/second_worker.log 2>&1 & second=$$!; \
	  $(SWEEP_VOCABULARY); first=$$?; wait $$second && exit $$first
	$(BIN)/python -m analysis.vocabulary --logs=$(VOCABULARY) --study=vocabulary --domain=python_docs_ascii \
	  --compression=$(STORE)/compression-python_docs_ascii-python_docs_ascii.json --out=$(VOCABULARY)/fit.json --plot=$(VOCABULARY)/vocabulary.png
	$(BIN)/python -m analysis.report --logs=$(VOCABULARY) --study=vocabulary --fit=$(VOCABULARY)/fit.json --out=$(VOCABULARY)/report.html
	@echo look at $(abspath $(VOCABULARY)/report.html)

SPARSE := $(dir $(WORKDIR))sparse
sparse: install
	$(BIN)/python -m scaling.data.prepare --corpus=python_docs --vocab_size=512 --store=$(STORE)
	$(BIN)/python -m scaling.sweep --config=configs/sparse.py --workdir=$(SPARSE) --store=$(STORE)
	$(BIN)/python -m scaling.sweep --config=configs/sparse.py:spdf --workdir=$(SPARSE) --store=$(STORE)
	$(BIN)/python -m analysis.sparse --logs=$(SPARSE) --out=$(SPARSE)/sparse.json --plot_dir=$(SPARSE)/plots
	@echo look at $(abspath $(SPARSE)/plots)

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: install
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

published: install
	$(BIN)/python benchmarks/published.py

bench: install
	for program in benchmarks/*.py; do echo "== $$program"; $(BIN)/python $$program; done

golden: install
	$(BIN)/python -m tests.configs.golden

constraints: install
	$(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --no-annotate \
	  --extra data --extra dev --extra xm --extra tensorboard \
	  --extra bucket --extra beam --extra wandb setup.cfg -o constraints.txt

clean:
	rm -rf $(VENV) workdir
