#!/usr/bin/env bash
# A job that enqueues one run, waits for it, and does what its end asks for.
#
#     one_run.sh NAME
set -euo pipefail
name=$1

# With a key it may be started again at any time: then it waits for the same run.
id=$(aiki enqueue hello "name=$name" --key "job-$name" -o ids)

code=0
result=$(aiki wait "$id" --timeout 10m -o json) || code=$?
case $code in
  0) printf '%s\n' "$result" | python3 -c 'import json, sys; print(json.load(sys.stdin)["result"])' ;;
  1 | 3 | 4) echo "the work failed: aiki run show $id" >&2 && exit 1 ;;
  7) echo "it needs a person: aiki why $id" >&2 && exit 1 ;;
  69 | 75 | 124) echo "it goes on, or nobody answers: start this again" >&2 && exit 75 ;;
  *) echo "this script, or what it was given, is wrong" >&2 && exit "$code" ;;
esac
