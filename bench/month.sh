#!/bin/bash
# A simulated month of a watch: alarms a day, incidents found and lost, delay, and what refreshes cost.
#
#   bench/month.sh [SEED ...]         default: 1 2 3;  make bench-month
#
# DEVICES devices with four features and a row every STEP: daily profiles of their own, noise, and correlated features. The model is
# trained on TRAIN days without incidents, the watch has alerts_per_day => 3 and the default for all else. Then DAYS days arrive,
# with amad_refresh every EVERY and amad_care each hour, as the jobs of amad_schedule call them, with as_of:
#   INCIDENTS incidents of one device each, of four kinds in turn: a spike (2 rows), a shift of one feature (1 to 3 hours), a feature that
#   no longer follows another one (2 to 4 hours), and a sensor that is stuck (3 to 6 hours)
#   one row of 100 arrives 1 to 3 hours late
#   a fiftieth of the devices appears on day DAYS / 3, and another fiftieth stops on day DAYS / 2
#   of three tenths of the devices one feature shifts for good on day 2 DAYS / 3
# CARE=false switches the care off.
#
# Printed for each seed: alarms a day (transitions open; several incidents that are announced as one count once) over all days and before the
# shift, incidents that an announced incident of the device overlaps, by kind, the median time from the begin of an incident to its
# announcement, how the shift was announced, the share of rows of these devices that are flagged in its first day and from the
# second day on, devices that stopped and were announced, new devices that are not adopted, rows that have no score, scores that
# differ from those of amad_detect (of versions that are still stored), what the care did, and the time of a refresh. Announcements
# that overlap neither an incident, nor the shift of the device, are false.
#
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run, and leaves nothing behind.
# Environment: DEVICES 200, STEP 5 minutes, TRAIN 14, DAYS 30, EVERY 1 hour, INCIDENTS 50, OPTIONS of the training {}, PER_DAY 3,
# CARE true
set -euo pipefail

seeds=("$@")
[ $# -gt 0 ] || seeds=(1 2 3)
devices=${DEVICES:-200} step=${STEP:-5 minutes} train=${TRAIN:-14} days=${DAYS:-30} every=${EVERY:-1 hour} incidents=${INCIDENTS:-50}
options=${OPTIONS:-"{}"} per_day=${PER_DAY:-3} care=${CARE:-true}
schema=amad_bench_month

run() { PGOPTIONS='-c client_min_messages=warning -c timezone=UTC' psql -qXAt -v ON_ERROR_STOP=1 "$@"; }
finish() {
  trap - EXIT
  run -c "SELECT amad_drop('$schema') FROM amad_models WHERE model_name = '$schema' LIMIT 1" \
    -c "DROP SCHEMA IF EXISTS $schema CASCADE" >/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT

simulate() {
  run -v seed="$1" <<SQL
DROP SCHEMA IF EXISTS $schema CASCADE;
CREATE SCHEMA $schema;
SET search_path = $schema, public;
SELECT count(setseed(:seed / 1000.0)) \\gset
CREATE TABLE device AS SELECT d AS device, 20 + 60 * random() AS level, 5 + 10 * random() AS day, 24 * random() AS phase, 0.5 + random() AS noise,
  d > $devices * 0.96 AND d <= $devices * 0.98 AS late_comer, d > $devices * 0.98 AS stops, d <= $devices * 0.3 AS shifts
FROM generate_series(1, $devices) d;
CREATE FUNCTION first_day() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS \$\$ SELECT timestamptz '2026-03-02 00:00+00' \$\$;
CREATE FUNCTION normal() RETURNS float8 LANGUAGE sql AS \$\$ SELECT sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) \$\$;
CREATE TABLE feed AS
SELECT device, ts, load, 2 * load + 10 + noise * normal() AS power, 30 + load / 3 + noise * normal() AS heat, 100 + noise * normal() * 2 AS pressure,
  ts + CASE WHEN random() < 0.01 AND ts > first_day() THEN interval '1 hour' + random() * interval '2 hours' ELSE '0' END AS arrives
FROM (SELECT d.*, ts, level + day * sin((extract(hour FROM ts) + extract(minute FROM ts) / 60 + phase) * pi() / 12)
        * CASE WHEN extract(isodow FROM ts) > 5 THEN 0.5 ELSE 1 END + noise * normal() AS load
      FROM device d, generate_series(first_day() - interval '$train days', first_day() + interval '$days days' - interval '1 second', '$step') ts
      WHERE NOT (late_comer AND ts < first_day() + interval '1 day' * ($days / 3))
        AND NOT (stops AND ts >= first_day() + interval '1 day' * ($days / 2))) AS r;
CREATE INDEX ON feed (arrives);
CREATE INDEX ON feed (device, ts);
ANALYZE feed;
-- incidents at least a day apart in each device, none after it stops
CREATE TABLE incident AS
SELECT n AS number, (ARRAY['spike', 'shift', 'decoupled', 'stuck'])[1 + n % 4] AS kind, device, begins,
  begins + CASE n % 4 WHEN 0 THEN interval '$step' WHEN 1 THEN interval '1 hour' * (1 + 2 * random()) WHEN 2 THEN interval '1 hour' * (2 + 2 * random())
    ELSE interval '1 hour' * (3 + 3 * random()) END AS ends
FROM (SELECT n, 1 + (n * 7919 + :seed * 31) % ($devices * 96 / 100) AS device,
        date_bin('$step', first_day() + interval '12 hours' + random() * interval '1 day' * ($days - 1), first_day()) AS begins
      FROM generate_series(0, $incidents - 1) n) AS i;
UPDATE feed f SET load = CASE kind WHEN 'spike' THEN load + 40 ELSE load END, power = CASE kind WHEN 'spike' THEN power + 80 ELSE power END,
  heat = CASE kind WHEN 'decoupled' THEN 30 + level / 3 - (load - level) / 3 + 8 ELSE heat END,
  pressure = CASE kind WHEN 'shift' THEN pressure + 12 * noise ELSE pressure END
FROM incident i JOIN device d USING (device) WHERE f.device = i.device AND ts BETWEEN begins AND ends AND kind <> 'stuck';
UPDATE feed f SET heat = (SELECT heat FROM feed g WHERE g.device = i.device AND g.ts < begins ORDER BY ts DESC LIMIT 1),
  power = (SELECT power FROM feed g WHERE g.device = i.device AND g.ts < begins ORDER BY ts DESC LIMIT 1)
FROM incident i WHERE f.device = i.device AND ts BETWEEN begins AND ends AND kind = 'stuck';
UPDATE feed f SET pressure = pressure + 10 * noise FROM device d WHERE d.device = f.device AND shifts AND ts >= first_day() + interval '1 day' * ($days * 2 / 3);

CREATE TABLE metrics (device int, ts timestamptz, load float8, power float8, heat float8, pressure float8, PRIMARY KEY (device, ts));
INSERT INTO metrics SELECT device, ts, load, power, heat, pressure FROM feed WHERE arrives < first_day();
ANALYZE metrics;
SELECT count(amad_train('$schema', '$schema.metrics', 'ts', series_cols => '{device}', options => '$options')) \\gset
SELECT count(amad_watch('$schema', target => '$schema.scores', "every" => '$every', alerts_per_day => $per_day, care => $care)) \\gset
CALL amad_refresh('$schema', as_of => first_day());
CALL amad_care('$schema', as_of => first_day());
DO \$\$ DECLARE now timestamptz := first_day(); BEGIN
  WHILE now < first_day() + interval '$days days' LOOP
    INSERT INTO metrics SELECT device, ts, load, power, heat, pressure FROM feed WHERE arrives >= now AND arrives < now + interval '$every';
    now := now + interval '$every';
    CALL amad_refresh('$schema', as_of => now);
    CALL amad_care('$schema', as_of => now);
  END LOOP; END \$\$;

CREATE TABLE announced AS SELECT i.id, o.as_of, i.kind, (series->>'device')::int AS device, started, coalesce(ended, 'infinity') AS ended, coalesce(i.leader, i.id) AS leader
FROM amad_incidents i JOIN amad_watches w USING (watch) JOIN amad_outbox o ON o.incident = i.id AND o.transition = 'open' WHERE w.model_name = '$schema';
CREATE TABLE matched AS SELECT i.number, i.kind, i.begins, min(a.as_of) AS as_of FROM incident i LEFT JOIN announced a
  ON a.device = i.device AND a.kind = 'anomaly' AND a.started <= i.ends + interval '30 minutes' AND a.ended >= i.begins AND a.started >= i.begins - interval '1 hour'
GROUP BY 1, 2, 3;
CREATE FUNCTION shift_day() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS \$\$ SELECT first_day() + interval '1 day' * ($days * 2 / 3) \$\$;
SELECT format('seed %s: rule: severity > %s, %s rows', :seed, min_severity, min_rows) FROM amad_watches WHERE model_name = '$schema';
SELECT format('  alarms a day: %s (%s anomalies, %s silences, %s drifts, %s failed jobs); before the shift: %s anomalies, of them %s of no incident',
  round(count(*) / $days.0, 2), round(count(*) FILTER (WHERE kind = 'anomaly') / $days.0, 2), round(count(*) FILTER (WHERE kind = 'silent') / $days.0, 2),
  round(count(*) FILTER (WHERE kind = 'drift') / $days.0, 2), round(count(*) FILTER (WHERE kind = 'job') / $days.0, 2),
  round(count(*) FILTER (WHERE kind = 'anomaly' AND as_of < shift_day()) / ($days * 2 / 3)::numeric, 2),
  round(count(*) FILTER (WHERE kind = 'anomaly' AND as_of < shift_day() AND NOT EXISTS (SELECT FROM incident i WHERE i.device = a.device
    AND a.started <= i.ends + interval '2 hours' AND a.ended >= i.begins - interval '1 hour')) / ($days * 2 / 3)::numeric, 2))
FROM announced a WHERE id = leader;
SELECT format('  each day: %s', string_agg((SELECT count(*) FROM announced a WHERE id = leader AND kind = 'anomaly' AND as_of > d AND as_of <= d + interval '1 day')::text, ' ' ORDER BY d))
FROM generate_series(first_day(), first_day() + interval '1 day' * ($days - 1), '1 day') d;
SELECT format('  incidents announced: %s of %s (%s); median delay %s', count(as_of), count(*),
  (SELECT string_agg(kind || ' ' || found || ' of ' || n, ', ' ORDER BY kind) FROM (SELECT kind, count(as_of) AS found, count(*) AS n FROM matched GROUP BY 1) k),
  percentile_cont(0.5) WITHIN GROUP (ORDER BY as_of - begins)) FROM matched;
SELECT format('  the shift of %s devices: %s incidents in its first day, announced %s times, for %s devices', (SELECT count(*) FROM device WHERE shifts), count(*),
  count(DISTINCT leader), count(DISTINCT device)) FROM announced JOIN device d USING (device)
WHERE shifts AND kind = 'anomaly' AND started >= shift_day() - interval '1 hour' AND as_of < shift_day() + interval '1 day';
SELECT format('  rows of these devices that are flagged: %s %% in the first day of the shift, %s %% from the second day on; of all devices: %s %%',
  round(100 * avg((severity > 1)::int) FILTER (WHERE shifts AND ts < shift_day() + interval '1 day'), 2),
  round(100 * avg((severity > 1)::int) FILTER (WHERE shifts AND ts >= shift_day() + interval '1 day'), 2),
  round(100 * avg((severity > 1)::int) FILTER (WHERE ts >= shift_day() + interval '1 day'), 2)) FROM scores JOIN device USING (device) WHERE ts >= shift_day() AND status IS NULL;
SELECT format('  devices that stopped: %s, announced: %s; new devices: %s, learning series: %s', (SELECT count(*) FROM device WHERE stops),
  (SELECT count(DISTINCT device) FROM announced JOIN device USING (device) WHERE kind = 'silent' AND stops), (SELECT count(*) FROM device WHERE late_comer),
  (SELECT learning_series FROM amad_status WHERE model_name = '$schema'));
SELECT format('  rows without a score: %s; scores that differ from amad_detect: %s', (SELECT count(*) FROM metrics WHERE NOT EXISTS (SELECT FROM scores s WHERE (s.device, s.ts) = (metrics.device, metrics.ts))),
  (SELECT count(*) FROM (SELECT version AS v FROM amad_models WHERE model_name = '$schema' AND version IN (SELECT model_version FROM scores) OFFSET 0) v,
    LATERAL (SELECT (series->>'device')::int AS device, ts, severity FROM amad_detect('$schema', since => (SELECT min(ts) FROM scores WHERE model_version = v), version => v)) f
    JOIN scores s USING (device, ts) WHERE s.model_version = v AND s.severity IS DISTINCT FROM f.severity));
SELECT format('  care: %s recalibrations, %s trainings, %s of them deployed, %s failed; last remarks: %s', count(*) FILTER (WHERE kind = 'recalibrate' AND notices ~ 'recalibrated|adopted'),
  count(*) FILTER (WHERE kind = 'retrain'), count(*) FILTER (WHERE notices LIKE '%trained and deployed%'), count(*) FILTER (WHERE state <> 'done'),
  string_agg(concat_ws(' ', 'day', extract(day FROM as_of - first_day()), notices, message), '; ' ORDER BY as_of) FILTER (WHERE notices IS NOT NULL OR message IS NOT NULL))
FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = '$schema' AND kind <> 'refresh';
SELECT format('  a refresh: median %s ms, most %s ms, of %s rows; scores %s, incidents %s', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric),
  round(max(ms)::numeric), round(avg(rows_scored)), pg_size_pretty(pg_total_relation_size('scores')), pg_size_pretty(pg_total_relation_size('amad_incidents') + pg_total_relation_size('amad_outbox')))
FROM (SELECT extract(epoch FROM ended - started) * 1000 AS ms, rows_scored FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = '$schema' AND kind = 'refresh' AND run > 1) r;
SELECT count(amad_drop('$schema')) \\gset
SQL
}

for seed in "${seeds[@]}"; do
  simulate "$seed"
done
