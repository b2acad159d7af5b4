#!/bin/bash
# Submits what was missing of the study "{{ name }}" when this was written: {{ n_tasks }} tasks in {{ n_jobs }} jobs. To submit again what is
# missing later, write this anew: cf-train study emit {{ study }} --engine slurm
#
#   ./submit.sh                                   # with what job.sbatch says
#   ./submit.sh --partition=long --time=01:00:00  # and these for every job, instead of what stands here
#
# Memory is the predicted peak of a training step on the largest bag, and a quarter more. Time is three times what is predicted, and
# ten minutes; where it is too short, jobs save their state before it is over, are queued again and go on. So lower --time to get
# into shorter queues, and raise it to be restarted less.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p logs

at_once=200   # elements of an array that may run at the same time
arrays=()
submit() {
    local id
    id=$(sbatch --parsable "$@")
    arrays+=("${id%%;*}")   # on federated clusters sbatch adds the cluster's name
    echo "submitted ${id%%;*}: ${*: -1}"
}
{% for array in arrays %}
# {{ array.n_tasks }} tasks, predicted to take up to {{ array.predicted_memory }} and {{ array.predicted_minutes }} for a job.
submit --array=0-{{ array.last }}%$at_once --mem={{ array.memory_mib }}M --time={{ array.time }} --signal=B:USR1@{{ array.notice_seconds }} "$@" job.sbatch {{ array.list }}
{% endfor %}
after=$(IFS=:; echo "${arrays[*]}")
collect=$(sbatch --parsable "$@" --dependency="afterany:$after" collect.sbatch)
echo "submitted ${collect%%;*}: collect.sbatch, after the others"
