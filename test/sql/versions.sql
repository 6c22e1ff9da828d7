--
-- Versions: which one is used, compared, deployed and kept
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA versions_test;
SET search_path = versions_test, public, helpers;
SET timezone = 'UTC';
SET amad.max_parallel_workers = 0;
\set o '{"method": "pca", "horizons": [2, 4], "season": "none"}'
\set VERBOSITY terse

-- two devices with correlated columns, and three incidents
CREATE TABLE r AS
SELECT d AS device, '2026-01-01 00:00+00'::timestamptz + n * interval '5 min' AS ts, n::bigint AS number,
	sin(n / 40.0) + 0.1 * noise(n) + CASE WHEN bad THEN 3 ELSE 0 END AS a,
	2 * sin(n / 40.0) + 0.1 * noise(n + 100000 * d) AS b,
	noise(n + 200000 * d) AS c, bad
FROM generate_series(1, 2) d, generate_series(1, 3000) n,
	LATERAL (SELECT d = 1 AND (n BETWEEN 500 AND 510 OR n BETWEEN 1500 AND 1510 OR n BETWEEN 2500 AND 2510) AS bad) b;
CREATE VIEW source AS SELECT device, ts, a, b, c, bad FROM r;
CREATE FUNCTION versions(name text DEFAULT 'm') RETURNS TABLE (versions text) LANGUAGE sql AS $$
	SELECT string_agg(version || CASE WHEN deployed THEN '*' ELSE '' END, ' ' ORDER BY version)
	FROM amad_models WHERE model_name = name $$;
-- the summary of a training, with a reason without numbers
CREATE FUNCTION decision(s jsonb) RETURNS TABLE (deployed jsonb, decision jsonb, reason text) LANGUAGE sql AS $$
	SELECT s->'deployed', s->'deploy'->'decision', regexp_replace(s->'deploy'->>'reason', '[0-9]+', 'N', 'g') $$;

-- ---- deploy

-- the first version, not deployed
SELECT s->'deployed' AS deployed FROM amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}',
	label_col => 'bad', options => :'o', deploy => false) s;
SELECT versions();
SELECT count(*) FROM amad_detect('m');
SELECT amad_retrain('m');
SELECT amad_describe('m')->'features' AS features;
SELECT amad_describe('m', 1)->'features' AS features;
SELECT count(*) FROM amad_detect('m', version => 1);
SELECT amad_deploy('m', 1);
SELECT count(*) FROM amad_detect('m');
-- words for it
DO $$
DECLARE
	word text;
BEGIN
	FOREACH word IN ARRAY '{off,ON,f,yes,False}'::text[] LOOP
		RAISE NOTICE '%: %', word, amad_retrain('m', deploy => word)->'deployed';
	END LOOP;
END $$;
SELECT versions();
CREATE DOMAIN flag AS boolean;
SELECT amad_retrain('m', deploy => 'no'::varchar)->'deployed' AS deployed;
SELECT amad_retrain('m', deploy => false::flag)->'deployed' AS deployed;
SELECT amad_retrain('m', deploy => NULL)->'deployed' AS deployed;
SELECT amad_retrain('m', deploy => NULL::text)->'deployed' AS deployed;
PREPARE p(boolean) AS SELECT amad_retrain('m', deploy => $1)->'deployed' AS deployed;
EXECUTE p(false);
SELECT amad_retrain('m', deploy => '');
SELECT amad_retrain('m', deploy => 'better');
SELECT amad_retrain('m', deploy => 1);
-- recalibrations
SELECT s->'version' AS version, s->'deployed' AS deployed, s->'from_version' AS from_version
FROM amad_recalibrate('m', deploy => false) s;
SELECT versions();
DELETE FROM amad_models;

-- ---- version

SELECT amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad',
	options => :'o')->'version' AS version;
SELECT amad_retrain('m', until => '2026-01-04', deploy => false)->'version' AS version;
-- severities are those of the version's model
CREATE FUNCTION differ(v int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM amad_detect('m', version => v, explain => false) d
	FULL JOIN (SELECT device, ts, amad_score(model, to_jsonb(device), ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS severity
		FROM source, amad_models WHERE version = v) s ON s.ts = d.ts AND s.device = (d.series->>'device')::int
	WHERE d.severity IS DISTINCT FROM s.severity $$;
SELECT differ(1), differ(2);
SELECT DISTINCT model_version FROM amad_detect('m', version => 2, last_n => 1000);
SELECT count(*) FROM (SELECT severity FROM amad_detect('m', version => 2) EXCEPT SELECT severity FROM amad_detect('m')) x WHERE severity IS NOT NULL;
SELECT count(*) = (SELECT count(*) FROM amad_events('m')) AS deployed FROM amad_events('m', version => 1);
SELECT count(*) > 0 AS events FROM amad_events('m', version => 2);
SELECT amad_detect_query('m', last_n => 5, version => 2) = amad_detect_query('m', last_n => 5) AS same;
SELECT count(*) FROM amad_detect('m', version => NULL);
SELECT count(*) FROM amad_detect('m', version => 3);
SELECT count(*) FROM amad_events('m', version => 0);
SELECT amad_detect_query('m', version => -1);
SELECT count(*) FROM amad_detect('nothing', version => 1);

-- ---- amad_compare

SELECT version, rows, scored > 5900 AS scored, flagged > 0 AS flagged, flagged_both > 0 AS both, learning, drift,
	events_kept BETWEEN 3 AND events AS kept, round(events_per_day * (2999 * 5 + 5) / 1440) = events AS per_day,
	median_severity BETWEEN 0 AND 1 AS median
FROM amad_compare('m', 1, 2);
-- every number is that of amad_detect and amad_events
CREATE FUNCTION expected_comparison(a int, b int, since timestamptz) RETURNS TABLE (version int, rows bigint, scored bigint, flagged bigint,
	flagged_both bigint, events bigint, events_kept bigint, median float8) LANGUAGE sql AS $$
	WITH d AS (SELECT v, x.* FROM unnest(ARRAY[a, b]) v, amad_detect('m', since, version => v, explain => false) x),
		e AS (SELECT v, x.* FROM unnest(ARRAY[a, b]) v, amad_events('m', since, version => v) x)
	SELECT v, count(*), count(severity), count(*) FILTER (WHERE is_anomaly),
		(SELECT count(*) FROM d x JOIN d y USING (series, ts) WHERE x.v = a AND y.v = b AND x.is_anomaly AND y.is_anomaly),
		(SELECT count(*) FROM e WHERE e.v = d.v),
		(SELECT count(*) FROM e WHERE e.v = d.v AND EXISTS (SELECT FROM e o WHERE o.v <> e.v AND o.series = e.series
			AND o.start_ts <= e.end_ts AND e.start_ts <= o.end_ts)),
		percentile_cont(0.5) WITHIN GROUP (ORDER BY severity)
	FROM d GROUP BY v $$;
SELECT count(*) AS versions, bool_and((c.rows, c.scored, c.flagged, c.flagged_both, c.events, c.events_kept, c.median_severity)
	= (e.rows, e.scored, e.flagged, e.flagged_both, e.events, e.events_kept, e.median)) AS equal
FROM amad_compare('m', 2, since => '2026-01-03') c JOIN expected_comparison(2, 1, '2026-01-03') e USING (version);
SET work_mem = '64kB';
SELECT count(*) AS versions, bool_and((c.rows, c.scored, c.flagged, c.flagged_both, c.events, c.events_kept, c.median_severity)
	= (e.rows, e.scored, e.flagged, e.flagged_both, e.events, e.events_kept, e.median)) AS equal
FROM amad_compare('m', 1, 2) c JOIN expected_comparison(1, 2, NULL) e USING (version);
RESET work_mem;
-- a version with itself
SELECT flagged = flagged_both AND events = events_kept AS same FROM amad_compare('m', 2, 2);
-- series, no rows, and what does not exist
SELECT version, rows FROM amad_compare('m', 1, 2, series => '{"device": 2}');
SELECT * FROM amad_compare('m', 1, 2, since => '2030-01-01');
SELECT * FROM amad_compare('m', 1, 2, since => '2026-01-02', until => '2026-01-01');
SELECT * FROM amad_compare('m', 9);
SELECT * FROM amad_compare('m', 1, 0);
SELECT * FROM amad_compare(NULL, 1);
SELECT version, rows FROM amad_compare('m', NULL);
SELECT * FROM amad_compare_bigint('m', 1, 2);
SELECT version, rows FROM amad_compare('m', 1, 2, source => 'SELECT * FROM source LIMIT 1000');
BEGIN;
SET TRANSACTION READ ONLY;
SELECT count(*) FROM amad_compare('m', 1, 2);
ROLLBACK;
-- integers have no days
SELECT amad_train('number', 'r', 'number', feature_cols => '{a,b,c}', series_cols => '{device}', options => :'o')->'version' AS version;
SELECT version, rows, events > 0 AS events, events_per_day FROM amad_compare_bigint('number', 1, until => 2001);
DELETE FROM amad_models WHERE model_name = 'number';
-- a series that the versions do not contain
INSERT INTO r SELECT 3, ts, number, a, b, c, bad FROM r WHERE device = 2;
SELECT version, rows, learning FROM amad_compare('m', 1, 2);
DELETE FROM r WHERE device = 3;
DELETE FROM amad_models;

-- ---- if_better

-- nothing to compare with
SELECT (decision(amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad',
	options => :'o', deploy => 'if_better'))).*;
-- the same again
SELECT (decision(amad_retrain('m', deploy => 'if_better'))).*;
-- figures of both versions
SELECT s->'from_version' AS from_version, (s->>'windows')::int > 100 AS windows, s->'incidents' AS incidents,
	s->'old' = s->'new' AS equal, (s->'new'->>'injected_found')::float8 - (s->'new'->>'found_by_chance')::float8 > 0.2 AS found
FROM (SELECT amad_retrain('m', deploy => 'if_better')->'deploy' AS s) x;
SELECT versions();
-- a version that sees hardly anything
\set blind '{"method": "zscore", "horizons": [256], "season": "none"}'
SELECT (decision(amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad',
	options => :'blind', deploy => 'if_better'))).*;
SELECT versions();
-- the incidents of the range count
SELECT s->'deploy'->'incidents' AS incidents, s->'deploy'->>'reason' ~ 'misses (.) of the \1 labelled' AS missed
FROM amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad', since => '2026-01-05',
	options => :'blind', deploy => 'if_better') s;
-- it is replaced by one that sees more
SELECT amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad',
	options => :'blind')->'version' AS version;
SELECT (decision(amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', label_col => 'bad',
	options => :'o', deploy => 'if_better'))).*;
SELECT versions();
-- a version that knows too little
CREATE TABLE moved AS SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '5 min' AS ts,
	CASE WHEN n > 2700 THEN 20 ELSE 0 END + noise(n) AS a, noise(n + 10000) AS b FROM generate_series(1, 3000) n;
SELECT amad_train('moved', 'moved', options => :'o', until => '2026-01-10')->'version' AS version;
SELECT (decision(amad_retrain('moved', last_n => 200, deploy => 'if_better'))).*;
-- and the other way round: the deployed one knows too little
SELECT amad_retrain('moved', last_n => 200)->'deployed' AS deployed;
SELECT (decision(amad_retrain('moved', deploy => 'if_better'))).*;
SELECT versions('moved');
-- a recalibration
SELECT (decision(amad_recalibrate('m', deploy => 'if_better'))).*;
SELECT (decision(amad_recalibrate('m', since => '2026-01-05', options => '{"contamination": 0.4, "trim": 0}', deploy => 'if_better'))).*;
SELECT versions();
-- the deployed version cannot read the source: an error before the training
SELECT amad_train('m', 'SELECT ts, a FROM r WHERE device = 1', deploy => 'if_better');
SELECT amad_train('m', 'r', 'number', feature_cols => '{a,b,c}', series_cols => '{device}', deploy => 'if_better');
-- other features, which both can read
SELECT s->'deploy'->'decision' IS NOT NULL AS judged
FROM amad_train('m', 'source', 'ts', feature_cols => '{c,a}', options => '{"method": "zscore", "season": "none"}', series_cols => '{device}',
	deploy => 'if_better') s;
-- integers
SELECT amad_train_bigint('number', 'r', 'number', '{a,b,c}', '{device}', options => :'o', until => 2001)->'version' AS version;
SELECT (decision(amad_retrain_bigint('number', since => 500, deploy => 'if_better'))).*;
-- a model without names of features
SELECT amad_train('plain', :'o'::jsonb, ts, a)->'version' AS version FROM r WHERE device = 1;
SELECT amad_train('plain', 'SELECT ts, a FROM r WHERE device = 1', deploy => 'if_better');
DELETE FROM amad_models;

-- ---- keep

SELECT amad_train('m', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', options => :'o', keep => 1)->'dropped' AS dropped;
DO $$ BEGIN FOR i IN 1 .. 3 LOOP PERFORM amad_retrain('m'); END LOOP; END $$;
DO $$ BEGIN FOR i IN 1 .. 4 LOOP PERFORM amad_recalibrate('m'); END LOOP; END $$;
SELECT versions();
-- of each training, itself and its last two recalibrations
SELECT amad_recalibrate('m', keep => 2)->'dropped' AS dropped;
SELECT versions();
-- the deployed version and the new one stay, wherever they come from
SELECT amad_deploy('m', 3);
SELECT amad_recalibrate('m', deploy => false, keep => 1)->'dropped' AS dropped;
SELECT versions();
-- recalibrations belong to their training even if that is dropped
SELECT amad_deploy('m', 9);
SELECT amad_drop('m', 4);
SELECT amad_recalibrate('m', keep => 1)->'dropped' AS dropped;
SELECT versions();
SELECT amad_retrain('m', keep => 1)->'dropped' AS dropped;
SELECT versions();
-- within one statement, the versions that it reads are those at its beginning
SELECT amad_retrain('m')->'deployed' AS deployed FROM generate_series(1, 2);
SELECT versions();
-- each name separately, and versions of the aggregate like others
SELECT amad_train('other', :'o'::jsonb, ts, a)->'version' AS version FROM r WHERE device = 1;
SELECT amad_train('other', :'o'::jsonb, ts, a)->'version' AS version FROM r WHERE device = 1;
SELECT amad_train('other', 'SELECT ts, a FROM r WHERE device = 1', options => :'o', keep => 2)->'dropped' AS dropped;
SELECT versions(), versions('other');
SELECT amad_retrain('other', keep => 0);
SELECT amad_retrain('other', keep => 2147483647)->'dropped' AS dropped;
-- facts that somebody has changed
UPDATE amad_models SET training = jsonb_build_object('recalibration', jsonb_build_object('training_version', x))
FROM (VALUES (2, '"nonsense"'::jsonb), (3, '99999999999999999999')) f(v, x) WHERE model_name = 'other' AND version = v;
SELECT amad_retrain('other', keep => 2)->'dropped' AS dropped;
SELECT versions('other');
UPDATE amad_models SET training = '[1]' WHERE model_name = 'other';
SELECT amad_retrain('other', keep => 1)->'dropped' AS dropped;

-- ---- rights

CREATE ROLE amad_versions_owner;
CREATE ROLE amad_versions_member;
GRANT amad_versions_owner TO amad_versions_member;
GRANT USAGE ON SCHEMA versions_test TO PUBLIC;
GRANT SELECT ON source TO PUBLIC;
SET ROLE amad_versions_owner;
SELECT amad_train('own', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', options => :'o')->'version' AS version;
SELECT amad_retrain('own', deploy => false)->'version' AS version;
-- a member reads versions by a source that it names
SET ROLE amad_versions_member;
SELECT count(*) FROM amad_detect('own', version => 2, source => 'source');
SELECT count(*) FROM amad_detect('own', version => 2);
SELECT count(*) FROM amad_compare('own', 1, 2);
SELECT count(*) FROM amad_compare('own', 1, 2, source => 'source');
SELECT amad_retrain('own', deploy => false);
-- its own model of that name does not replace the owner's, so there is nothing to compare with
SELECT (decision(amad_train('own', 'source', 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', options => :'o', deploy => 'if_better'))).*;
-- keep drops own versions only
SELECT amad_retrain('own', keep => 1)->'dropped' AS dropped;
RESET ROLE;
SELECT owner, version, deployed FROM amad_models WHERE model_name = 'own' ORDER BY owner, version;
-- without the right to delete, an error before the training
REVOKE DELETE ON amad_models FROM PUBLIC;
SET ROLE amad_versions_owner;
SELECT amad_retrain('own', keep => 1);
SELECT amad_train('own', 'nowhere', keep => 1);
SELECT amad_recalibrate('own', keep => 1);
SELECT amad_retrain('own')->'version' AS version;
RESET ROLE;
GRANT DELETE ON amad_models TO PUBLIC;
BEGIN;
SET TRANSACTION READ ONLY;
SELECT amad_recalibrate('m', deploy => false);
ROLLBACK;
DELETE FROM amad_models;
SET client_min_messages = warning;
DROP SCHEMA versions_test CASCADE;
DROP ROLE amad_versions_owner, amad_versions_member;
