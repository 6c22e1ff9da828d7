-- Writes test/updates/models-VERSION.sql, of the installed version, before it is released:
--	tools/server.sh psql -XqAt -f test/updates/make_models.sql > test/updates/models-VERSION.sql
\i test/updates/rows.sql
SET client_min_messages = warning;
CREATE FUNCTION small(options jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "steps": 100, "horizons": [2, 4]}'::jsonb || options $$;
DO $do$
DECLARE
	source CONSTANT text := 'SELECT d, ts, a, b, flag FROM old_rows WHERE n < 1000';
BEGIN
	PERFORM amad_train('fleet', source, 'ts', series_cols => '{d}', options => small('{"advanced": {"batch_size": 2}}'));
	PERFORM amad_train('local', source, 'ts', series_cols => '{d}', options => small('{"timezone": "Europe/Berlin",
		"holidays": ["2026-09-09"], "lookahead": 2, "missing": "linear", "advanced": {"batch_size": 2}}'));
	PERFORM amad_train('counter', 'SELECT ts, a, counter, flag FROM old_rows WHERE d = 1 AND n < 1000', 'ts',
		options => small('{"advanced": {"batch_size": 2}}'));
	PERFORM amad_train('pca', source, 'ts', series_cols => '{d}', options => '{"method": "pca", "season": [86400]}');
	PERFORM amad_train('zscore', source, 'ts', series_cols => '{d}', options => '{"method": "zscore"}');
	PERFORM amad_recalibrate('zscore', since => '2026-09-05 00:00+00', until => '2026-09-15 00:00+00');
END $do$;
SELECT format('INSERT INTO old_models VALUES (%L, %L);', model_name, model::text) FROM amad_models
WHERE deployed ORDER BY model_name;
SELECT format('INSERT INTO old_severities VALUES (%L, %s, %s, %s);', name, d, n, severity)
FROM (SELECT * FROM old_scores UNION ALL SELECT * FROM old_scores_of_counter) x
WHERE severity IS NOT NULL AND (n % 97 = 0 OR n BETWEEN 1199 AND 1203) ORDER BY name, d, n;
