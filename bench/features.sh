# shellcheck shell=bash
# To be sourced: features FILE prints the names of the feature columns of a gzipped series, comma-separated.
features() {
  # gzip may die of a closed pipe: that is not a failure
  { gzip -dc "$1" 2>/dev/null || true; } | head -n 1 | tr -d '\r' | tr , '\n' | grep -vxE 'ts|label' | paste -sd,
}
