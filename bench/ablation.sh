#!/bin/bash
# What the parts of the model are worth: detection quality with each of them switched off, by options.
#
#   bench/ablation.sh DIR [SEEDS]      SEEDS: one word, default "0 1"
#
# DIR as for bench/quality.sh, of which this makes many runs. A line for each variant: the mean average precision over
# the entities of GROUP1 and of GROUP2, and in parentheses the mean VUS-PR. Environment:
#   GROUP1, GROUP2   patterns (grep -E) of <set>/<entity>, default: those that the defaults were chosen on, and the others of ASD and SMD
#   ONLY             shell pattern of <set>/<entity> to run, default: ASD and SMD
#   VARIANTS         file with a variant a line: jsonb of options, default: the list below
set -euo pipefail

dir=${1:?usage: ablation.sh DIR [SEEDS]}
seeds=${2:-0 1}
group1=${GROUP1:-ASD/omi-[123] |SMD/machine-(1|2)-1 }
group2=${GROUP2:-ASD/omi-[456] |SMD/machine-(1-6|3-2) }
quality=$(dirname "$0")/quality.sh
export ONLY=${ONLY:-[AS]*/*}      # of the groups

variants() {
  if [ -n "${VARIANTS:-}" ]; then
    cat "$VARIANTS"
    return
  fi
  cat <<'LIST'
{}
{"advanced": {"without": ["automask"]}}
{"advanced": {"without": ["mixup"]}}
{"advanced": {"without": ["multiscale"]}}
{"advanced": {"contrast_weight": 0}}
{"advanced": {"maxmin_weight": 0}}
{"advanced": {"discrepancy_weight": 0}}
{"advanced": {"state_weight": 0}}
{"advanced": {"flatline_weight": 0}}
{"advanced": {"relation_weight": 0}}
{"advanced": {"flag_weight": 10000}}
{"advanced": {"input_missing": 0}}
{"advanced": {"input_outliers": 0}}
{"advanced": {"ahead": 0}}
{"season": "none"}
{"advanced": {"release": 0}}
{"advanced": {"fade": 0}}
{"advanced": {"burst": 0}}
{"validation_fraction": 0.1}
{"horizons": [10]}
{"advanced": {"residual_floor": 0.01}}
{"window": 16}
{"steps": 1000}
{"method": "pca"}
{"lookahead": 4}
{"lookahead": 16}
{"lookahead": 16, "method": "pca"}
LIST
}

# mean of the entities that match $1, of the lines of quality.sh
mean() {
  grep -E "^($1)" | awk '{ ap += substr($0, 30, 6); vus += substr($0, 44, 8); n++ }
    END { if (n) printf "%.3f (%.3f)", ap / n, vus / n; else printf "-" }'
}

printf '%-44s %14s %14s\n' options 'group 1' 'group 2'
variants | while read -r options; do
  lines=$(METHODS=amad AMAD_OPTIONS=$options "$quality" "$dir" "$seeds" </dev/null)
  printf '%-44s %14s %14s\n' "$options" "$(mean "$group1" <<<"$lines")" "$(mean "$group2" <<<"$lines")"
done
