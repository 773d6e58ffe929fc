#!/usr/bin/env bash
# A job that enqueues a run for each row, waits for all of them, and tells of those that did not complete.
#
#     many_runs.sh ROWS.jsonl BATCH
set -euo pipefail
rows=$1 batch=$2

code=0
aiki enqueue hello --from "$rows" --key-field name --label "batch=$batch" --wait --timeout 1h -o jsonl \
  > outcomes.jsonl || code=$?
python3 - << 'END'
import collections, json
rows = [json.loads(line) for line in open("outcomes.jsonl", encoding="utf-8")]
print(*(f"{count} {outcome}" for outcome, count in sorted(collections.Counter(row["outcome"] for row in rows).items())))
END

# The same runs by their label, and by their ids on stdin: a line of each, and the highest code.
aiki wait --label "batch=$batch" --timeout 1m | cut -f 2 | sort | uniq -c
aiki run list --label "batch=$batch" --limit 1000 -o ids | aiki wait --from - --any -q > first.tsv

# A few commands at a time, over many.
aiki run list --label "batch=$batch" --limit 1000 -o ids | xargs -r -n 2 -P 2 aiki status -o tsv | cut -f 2 | sort -u
exit "$code"
