-- amad_metrics: the text of all watches that a role can see.
\set VERBOSITY terse
SET timezone = 'UTC';
SELECT amad_metrics();

CREATE FUNCTION at(i int) RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT date_trunc('minute', now()) + i * interval '1 minute' $$;
CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
INSERT INTO readings SELECT d, at(i), sin(i * 0.2 + d), cos(i * 0.11) + (i * 7919 % 101) / 500.0 FROM generate_series(-600, -1) i, generate_series(1, 3) d;
-- a name with a backslash, a quote and a line break
\set name 'a\\b"c\nd'
SELECT amad_train(:'name', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('m', target => 'scores', "every" => '5 min', alerts_per_day => 3)->'target' AS target;
CALL amad_refresh('m');

-- lines with their values, without those that depend on the time
CREATE FUNCTION lines(model text DEFAULT 'm') RETURNS SETOF text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(l, 'owner="[^"]*",', ''), '((?:seconds|ratio)\{.*\}) -?[0-9.e-]+$', '\1 some')
  FROM string_to_table(amad_metrics(), E'\n') l WHERE l ~ ('^[^#].*model="' || model || '"') $$;
SELECT lines();
-- what has no value has no line; each metric has one description, in front of its values
SELECT amad_watch(:'name', target => 'other_scores')->'target' AS target;
SELECT lines('a.*') LIMIT 1;
SELECT count(*) FILTER (WHERE l ~ '^# HELP') AS help, count(*) FILTER (WHERE l ~ '^# TYPE \w+ gauge$') AS type,
  count(DISTINCT substring(l FROM '^\w+')) AS metrics, count(*) FILTER (WHERE l ~ '^[^#]') = count(DISTINCT l) FILTER (WHERE l ~ '^[^#]') AS once,
  bool_and(l ~ '^(# HELP \w+ [A-Z].*\.|# TYPE \w+ gauge|amad_watch_\w+\{\w+="([^"\\]|\\["\\n])*"(,\w+="([^"\\]|\\["\\n])*")*\} -?[0-9.]+(e[-+]?[0-9]+)?|# EOF)$')
    FILTER (WHERE l <> '') AS form
FROM string_to_table(amad_metrics(), E'\n') l;
SELECT right(amad_metrics(), 6) = E'\n# EOF' AS ends;
-- two watches with the same labels, as after roles were renamed, get another label
BEGIN;
CREATE ROLE amad_m_renamed;
UPDATE amad_watches SET owner = 'amad_m_renamed', model_name = 'm' WHERE model_name = :'name';
UPDATE amad_watches SET owner = 'amad_m_renamed' WHERE model_name = 'm';
SELECT count(*), count(DISTINCT split_part(l, '}', 1)) FROM string_to_table(amad_metrics(), E'\n') l WHERE l ~ 'amad_watch_state';
ROLLBACK;

-- a time in which things go wrong
INSERT INTO readings SELECT d, at(1), 50, 0 FROM generate_series(1, 2) d;
INSERT INTO readings SELECT 4, at(i), 1, 0 FROM generate_series(-3, 1) i;
CALL amad_refresh('m', as_of => at(2));
SELECT l FROM lines() l WHERE l ~ 'last_run_rows|kind="anomaly|alarms|undelivered|learning_series|silent|flagged';
ALTER TABLE readings RENAME a TO other;
CALL amad_refresh('m', as_of => at(3));
SELECT l FROM lines() l WHERE l ~ 'state="failing|failures|last_run_rows';
ALTER TABLE readings RENAME other TO a;
UPDATE readings SET b = 1 WHERE device = 3 AND ts = at(-5);
SELECT l FROM lines() l WHERE l ~ 'change';
SELECT amad_pause('m');
SELECT l FROM lines() l WHERE l ~ 'state="(ok|paused)"';
SELECT amad_resume('m');
DELETE FROM amad_models WHERE model_name = 'm';
SELECT l FROM lines() l WHERE l ~ 'state="no model"';

-- roles see what they see in amad_status; what is in their search_path and their settings do not matter
CREATE ROLE amad_m_reader;
SET ROLE amad_m_reader;
SELECT amad_metrics();
RESET ROLE;
SELECT amad_grant(:'name', 'amad_m_reader', 'read');
CREATE SCHEMA amad_m_trap AUTHORIZATION amad_m_reader;
SET ROLE amad_m_reader;
CREATE FUNCTION amad_m_trap.format(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$;
CREATE VIEW amad_m_trap.amad_status AS SELECT 'trapped' AS model_name;
SET search_path = amad_m_trap, pg_catalog, public;
SELECT count(*) AS lines, count(*) FILTER (WHERE l LIKE '%trapped%') AS trapped,
  count(DISTINCT substring(l FROM 'model="(([^"\\]|\\.)*)"')) AS models FROM string_to_table(public.amad_metrics(), E'\n') l;
RESET search_path;
RESET ROLE;

SELECT amad_drop(:'name'), amad_unwatch('m');
SELECT amad_metrics();
DROP SCHEMA amad_m_trap CASCADE;
DROP TABLE readings, scores, other_scores CASCADE;
DROP FUNCTION at, lines;
DROP ROLE amad_m_reader;
\set VERBOSITY default
