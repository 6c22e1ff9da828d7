-- Names of series: equal values are one series, even if their texts differ; the name is the same in every session, and
-- is found again after a change of the column's type.
CREATE SCHEMA series_keys_test;
SET search_path = series_keys_test, public;
SET client_min_messages = warning;
\set o '{"method": "zscore", "horizons": [1, 4]}'

CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE pair AS (x numeric, y text);
CREATE TYPE colour AS ENUM ('red', 'green');

-- Rows of two series: the texts of the first series alternate.
CREATE FUNCTION rows_of(type text, one text, other text, second text) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT ''2026-01-01 00:00+00''::timestamptz + i * interval ''1 min'' AS ts, '
		'CASE WHEN i %% 2 = 0 THEN %L ELSE %L END::%s AS dev, sin(i / 10.0) AS a FROM generate_series(1, 500) i '
		'UNION ALL SELECT ''2026-01-01 00:00+00''::timestamptz + i * interval ''1 min'', '
		'%L::%3$s, cos(i / 10.0) FROM generate_series(1, 500) i', one, other, type, second) $$;
-- Trains on them.  Returns the number of series of the model, of the detection, and of rows of series that are not in
-- the model, and the model's names; checks that a range that begins with the other text has the same series, and the round trip.
CREATE FUNCTION try(type text, one text, other text, second text, collation_name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	query text := rows_of(type, one, other, second);
	report text;
BEGIN
	IF collation_name IS NOT NULL THEN
		query := format('SELECT ts, dev COLLATE %s AS dev, a FROM (%s) q', collation_name, query);
	END IF;
	EXECUTE format('CREATE TABLE %I AS %s', 't ' || one, query);
	report := amad_train('k', format('series_keys_test.%I', 't ' || one), 'ts', '{a}', '{dev}',
		options => '{"method": "zscore", "horizons": [1, 4]}')->>'series';
	report := report || ' trained, ' || (SELECT concat(count(DISTINCT series), ' detected, ',
			count(*) FILTER (WHERE status = 'learning'), ' unknown') FROM amad_detect('k'));
	report := report || ', ' || (SELECT string_agg(s->'series'->>'dev', ' and ' ORDER BY s->'series'->>'dev' COLLATE "C")
		FROM jsonb_array_elements(amad_describe('k')->'series') s);
	EXECUTE format('DELETE FROM %I WHERE ts < ''2026-01-01 00:03+00''', 't ' || one);
	report := report || (SELECT CASE WHEN bool_or(status = 'learning') OR count(DISTINCT series) <> 2 THEN ': LOST'
			ELSE '' END FROM amad_detect('k'));
	report := report || (SELECT CASE WHEN model::text::amad_model::text = model::text THEN '' ELSE ': CHANGED' END
		FROM amad_models WHERE model_name = 'k' AND deployed);
	EXECUTE format('DROP TABLE %I', 't ' || one);
	RETURN report;
END $$;

SELECT try('numeric', '1.0', '1.00', '2');
SELECT try('numeric', '-0.000', '0', '100');
SELECT try('float8', '-0', '0', '1e300');
SELECT try('float4', '-0', '0', '0.1');
SELECT try('interval', '1 day', '24 hours', '1 month');
SELECT try('interval', '1 month', '30 days', '-1 day +23:00');
SELECT try('text', 'A', 'a', 'b', 'ignore_case');
SELECT try('varchar(9)', 'Ü', 'ü', 'u', 'ignore_case');
SELECT try('char(3)', 'x', 'x  ', 'y');
SELECT try('jsonb', '{"k": 1.0}', '{"k": 1.00}', '2');
SELECT try('numeric[]', '{1.0,2}', '{1.00,2.000}', '{1}');
SELECT try('numrange', '[1.0,2)', '[1.00,2)', '[3,4)');
SELECT try('series_keys_test.pair', '(1.0,a)', '(1.00,a)', '(1,b)');
SELECT try('timestamptz', '2026-01-01 00:00+00', '2026-01-01 02:00+02', '2026-01-02 00:00+00');
SELECT try('timetz', '10:00+00', '10:00:00+00', '12:00+02');
SELECT try('bytea', '\x00ff', '\x00ff', 'abc');
SELECT try('series_keys_test.colour', 'red', 'red', 'green');
SELECT try('boolean', 'true', 't', 'false');
SELECT try('inet', '10.0.0.1', '10.0.0.1/32', '10.0.0.2');
SELECT try('float8', 'NaN', 'nan', 'Infinity');
-- different values are different series
SELECT try('text', 'A', 'A', 'a');
SELECT try('text', '1', '1', '1.0');
-- the argument series finds a series by the equality of its column, and by the object that amad_detect returns
CREATE TABLE chosen AS SELECT ts, CASE WHEN dev = 'a' THEN 'A' ELSE dev END COLLATE ignore_case AS dev,
	(1.0, dev)::pair AS p, dev::colour AS c, interval '1 day' AS i, a
FROM (SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '1 min' AS ts,
		CASE WHEN i % 2 = 0 THEN 'red' ELSE 'green' END AS dev, sin(i / 10.0) AS a FROM generate_series(1, 400) i) q;
SELECT amad_train('k', 'chosen', 'ts', '{a}', '{dev,p,c,i}', options => :'o')->'series' AS series;
SELECT (SELECT count(*) FROM amad_detect('k', series => s)) AS all_of_it,
	(SELECT count(*) FROM amad_detect('k', series => jsonb_build_object('dev', upper(s->>'dev')))) AS upper,
	(SELECT count(*) FROM amad_detect('k', series => jsonb_build_object('p', s->'p', 'i', '24:00:00'))) AS some
FROM (SELECT DISTINCT series AS s FROM amad_detect('k')) q;
-- types without an order or without a name
SELECT amad_train('k', rows_of('json', '1', '1', '2'), 'ts', '{a}', '{dev}', options => :'o');
SELECT amad_train('k', rows_of('point', '(1,1)', '(1,1)', '(2,2)'), 'ts', '{a}', '{dev}', options => :'o');
SELECT amad_train('k', 'SELECT ts, row(dev, 1) AS dev, a FROM chosen', 'ts', '{a}', '{dev}', options => :'o');

-- alternating rows of 1.0 and 1.00 are one series
SELECT amad_train('k', 'SELECT * FROM (' || rows_of('numeric', '1.0', '1.00', '2') || ') q WHERE dev = 1', 'ts',
	'{a}', '{dev}', options => :'o')->'rows' AS rows;

-- names do not depend on the session
CREATE TABLE named AS SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '1 min' AS ts, d,
	'2026-03-29 00:30+00'::timestamptz + d * interval '1 hour' AS t, 0.1::float8 + d AS f, d * interval '25 hours' AS i,
	tstzrange('2026-01-01', '2026-01-01'::timestamptz + d * interval '1 hour') AS tr, d::text::money AS m,
	('\x0' || d)::bytea AS b, sin(i / 10.0) AS a
FROM generate_series(1, 200) i, generate_series(1, 3) d;
SELECT amad_train('named', 'named', 'ts', '{a}', '{t,f,i,tr,m,b}', options => :'o')->'series' AS series;
CREATE TABLE keys AS SELECT DISTINCT series::text FROM amad_detect('named');
SET timezone = 'Europe/Berlin';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -12;
SET bytea_output = 'escape';
SELECT count(*) AS rows, count(*) FILTER (WHERE status = 'learning') AS unknown, count(DISTINCT series) AS series,
	count(*) FILTER (WHERE series::text NOT IN (SELECT series FROM keys)) AS others FROM amad_detect('named');
RESET timezone;
RESET DateStyle;
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;

-- after a change of the column's type, device '1' is the series of device 1
CREATE TABLE retyped AS SELECT d AS device, '2026-01-01 00:00+00'::timestamptz + i * interval '1 min' AS ts,
	d * 10 + sin(i / 10.0) AS a FROM generate_series(1, 3) d, generate_series(1, 300) i;
SELECT amad_train('retyped', 'retyped', 'ts', '{a}', '{device}', options => :'o')->'series' AS series;
CREATE TABLE before AS SELECT series, ts, severity FROM amad_detect('retyped');
ALTER TABLE retyped ALTER device TYPE text;
SELECT count(*) FILTER (WHERE status = 'learning') AS unknown,
	count(*) FILTER (WHERE d.severity IS DISTINCT FROM b.severity) AS differ, count(*) AS rows
FROM amad_detect('retyped') d JOIN before b USING (series, ts);
SELECT count(*) FILTER (WHERE (e).status = 'learning') AS unknown,
	count(*) FILTER (WHERE (e).severity IS DISTINCT FROM b.severity) AS differ, count(*) AS rows
FROM (SELECT device, ts, amad_explain('retyped', to_jsonb(device), ts, a) OVER (PARTITION BY device ORDER BY ts) AS e
	FROM retyped) x
JOIN before b ON b.series->>'device' = x.device AND b.ts = x.ts;
-- by its name in the model, also in a single value, in events and for the argument series
SELECT count(*) FILTER (WHERE status = 'learning') AS learning, count(*) AS rows, min(series::text) AS series
FROM amad_detect('retyped', series => '{"device": 2}');
SELECT count(*) > 0 AS events, min(series::text) AS first, max(series::text) AS last, count(status) AS with_status
FROM amad_events('retyped', min_severity => 0);
SELECT count(*) FILTER (WHERE (amad_explain).status = 'learning') AS learning, count(*) AS rows FROM (
	SELECT amad_explain('retyped', jsonb_build_object('device', device), ts, a) OVER (PARTITION BY device ORDER BY ts)
	FROM retyped) x;
-- and in the other direction
SELECT amad_train('text', 'retyped', 'ts', '{a}', '{device}', options => :'o')->'series' AS series;
ALTER TABLE retyped ALTER device TYPE bigint USING device::bigint;
SELECT count(*) FILTER (WHERE status = 'learning') AS learning,
	count(*) FILTER (WHERE d.severity IS DISTINCT FROM b.severity) AS differ, count(*) AS rows
FROM amad_detect('text') d JOIN before b ON b.ts = d.ts AND b.series->>'device' = d.series->>'device';
SELECT count(*) FILTER (WHERE (e).status = 'learning') AS learning,
	count(*) FILTER (WHERE (e).severity IS DISTINCT FROM b.severity) AS differ, count(*) AS rows
FROM (SELECT device, ts, amad_explain('text', to_jsonb(device), ts, a) OVER (PARTITION BY device ORDER BY ts) AS e
	FROM retyped) x
JOIN before b ON b.series->>'device' = x.device::text AND b.ts = x.ts;
ALTER TABLE retyped ALTER device TYPE text;
INSERT INTO retyped SELECT 'x1', ts, a FROM retyped WHERE device = '1';
SELECT series, count(*) FILTER (WHERE status = 'learning') > 0 AS unknown FROM amad_detect('retyped')
GROUP BY series ORDER BY series::text;
ALTER TABLE retyped ALTER device TYPE text COLLATE ignore_case;
SELECT series, count(*) FILTER (WHERE status = 'learning') > 0 AS unknown FROM amad_detect('retyped')
GROUP BY series ORDER BY series::text;
-- a key that the type does not accept is unknown, not an error
DELETE FROM retyped WHERE device = 'x1';
SELECT amad_train('retyped', 'SELECT * FROM retyped UNION ALL SELECT ''y'', ts, a FROM retyped WHERE device = ''1''',
	'ts', '{a}', '{device}', options => :'o')->'series' AS series;
SELECT series, count(*) FILTER (WHERE status = 'learning') > 0 AS unknown
FROM amad_detect('retyped', source => 'SELECT ts, a, ARRAY[device::int] AS device FROM retyped') GROUP BY series
ORDER BY series::text;
CREATE DOMAIN negative AS int[] CHECK (value[1] < 0);
SELECT count(*) AS rows FROM amad_detect('retyped',
	source => 'SELECT ts, a, ARRAY[-device::int]::negative AS device FROM retyped');

RESET search_path;
DROP SCHEMA series_keys_test CASCADE;
DELETE FROM amad_models;
